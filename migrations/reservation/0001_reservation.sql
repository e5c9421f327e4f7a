select delivery.create_tables('reservation');

select delivery.create_tables('movie');

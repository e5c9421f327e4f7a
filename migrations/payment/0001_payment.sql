select delivery.create_tables('payment');

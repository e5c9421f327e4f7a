select delivery.create_tables('auth');

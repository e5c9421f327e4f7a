// @golevelup/nestjs-rabbitmq: a topic exchange with JSON without an envelope, and one queue bound to every handled event.
'use strict';

module.exports = async (nest, settings, received) => {
  const { Injectable, Module } = nest('@nestjs/common');
  const { NestFactory } = nest('@nestjs/core');
  const { AmqpConnection, RabbitMQModule, RabbitSubscribe } = nest('@golevelup/nestjs-rabbitmq');

  class Listener {
    handle(data, message) {
      received(message.fields.routingKey, data, message);
    }
  }
  if (settings.events.length > 0) {
    RabbitSubscribe({ exchange: settings.exchange, routingKey: settings.events, queue: settings.queue })(
      Listener.prototype,
      'handle',
      Object.getOwnPropertyDescriptor(Listener.prototype, 'handle'),
    );
  }
  Injectable()(Listener);
  class Application {}
  Module({
    imports: [
      RabbitMQModule.forRoot({
        uri: settings.url,
        exchanges: [{ name: settings.exchange, type: 'topic' }],
        connectionInitOptions: { wait: true, timeout: 20_000 },
      }),
    ],
    providers: [Listener],
  })(Application);

  const application = await NestFactory.createApplicationContext(Application, { logger: ['error', 'fatal'] });
  const amqp = application.get(AmqpConnection);
  return {
    emit: async (event, data, messageId) => {
      await amqp.publish(settings.exchange, event, data, messageId ? { messageId, persistent: true } : {});
    },
    request: (pattern, { authorization, ...data } = {}) =>
      amqp.request({
        exchange: settings.exchange,
        routingKey: pattern,
        payload: data,
        headers: authorization ? { authorization } : undefined,
        timeout: 20_000,
      }),
    close: () => application.close(),
  };
};

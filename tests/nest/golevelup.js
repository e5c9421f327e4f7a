// @golevelup/nestjs-rabbitmq: a topic exchange with bare JSON, one queue, bound to every event that the service handles.
'use strict';

module.exports = async (nest, settings, heard) => {
  const { Injectable, Module } = nest('@nestjs/common');
  const { NestFactory } = nest('@nestjs/core');
  const { AmqpConnection, RabbitMQModule, RabbitSubscribe } = nest('@golevelup/nestjs-rabbitmq');

  class Listener {
    hear(data, message) {
      heard(message.fields.routingKey, data, message);
    }
  }
  if (settings.events.length > 0) {
    RabbitSubscribe({ exchange: settings.exchange, routingKey: settings.events, queue: settings.queue })(
      Listener.prototype,
      'hear',
      Object.getOwnPropertyDescriptor(Listener.prototype, 'hear'),
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
    ask: (pattern, { authorization, ...data } = {}) =>
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

// The RabbitMQ transport of Nest in both variants: one queue on the default exchange ("default"), and a topic exchange to
// which the patterns are bound ("topic").
'use strict';

module.exports = async (nest, settings, received) => {
  const { Module } = nest('@nestjs/common');
  const { NestFactory } = nest('@nestjs/core');
  const microservices = nest('@nestjs/microservices');
  const { ClientProxyFactory, Ctx, EventPattern, Payload, RmqRecordBuilder, Transport } = microservices;
  const { Controller } = nest('@nestjs/common');
  const { firstValueFrom, timeout } = nest('rxjs');

  // The compiled form of a decorated class: one handler for each event, which acknowledges it as with noAck: false.
  class Listener {}
  for (const event of settings.events) {
    Listener.prototype[event] = (data, context) => {
      received(event, data, context.getMessage());
      context.getChannelRef().ack(context.getMessage());
    };
    const handler = Object.getOwnPropertyDescriptor(Listener.prototype, event);
    Payload()(Listener.prototype, event, 0);
    Ctx()(Listener.prototype, event, 1);
    EventPattern(event)(Listener.prototype, event, handler);
  }
  Controller()(Listener);
  class Application {}
  Module({ controllers: [Listener] })(Application);

  const topic =
    settings.transport === 'topic' ? { exchange: settings.exchange, exchangeType: 'topic', wildcards: true } : {};
  const transport = (queue) => ({
    transport: Transport.RMQ,
    options: { urls: [settings.url], queue, queueOptions: { durable: true }, ...topic },
  });

  const listener = transport(settings.queue);
  listener.options.noAck = false;
  const application = await NestFactory.createMicroservice(Application, { ...listener, logger: ['error', 'fatal'] });
  await application.listen();

  const client = ClientProxyFactory.create(transport(settings.target));
  await client.connect();
  const record = (data, options) => new RmqRecordBuilder(data).setOptions(options).build();
  return {
    emit: (event, data, messageId) =>
      firstValueFrom(client.emit(event, messageId ? record(data, { messageId, persistent: true }) : data), {
        defaultValue: undefined,
      }),
    // `authorization` beside the data is sent as a header, where the token of the caller belongs.
    request: (pattern, { authorization, ...data } = {}) =>
      firstValueFrom(
        client
          .send(pattern, authorization ? record(data, { headers: { authorization } }) : data)
          .pipe(timeout(20_000)),
      ),
    close: async () => {
      client.close();
      await application.close();
    },
  };
};

import type { RmqOptions } from '@nestjs/microservices';

export const AMQP_URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/';
export const QUEUE = process.env.QUEUE ?? 'catalogue_queue';

/** The same for the server and the client: what is declared twice must not differ. */
export const OPTIONS: NonNullable<RmqOptions['options']> = {
  urls: [AMQP_URL],
  queue: QUEUE,
  queueOptions: { durable: true },
  exchange: 'marquee.events',
  exchangeType: 'topic',
  // Without it Nest's client would publish to its own queue and not to the exchange.
  wildcards: true,
  persistent: true,
};

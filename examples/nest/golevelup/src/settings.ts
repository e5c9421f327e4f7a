export const AMQP_URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/';
export const QUEUE = process.env.QUEUE ?? 'ledger_queue';
/** The exchange with the data alone; on `marquee.events` a handler would get Nest's envelope. */
export const EXCHANGE = 'marquee.events.raw';

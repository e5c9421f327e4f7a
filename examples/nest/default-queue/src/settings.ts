export const AMQP_URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/';
/** The name in AMQP_SERVICE_QUEUES. */
export const QUEUE = process.env.QUEUE ?? 'notifications_queue';
/** The queue of the bridge, which receives what this service emits and sends. */
export const INBOX = 'marquee.bridge.inbox';

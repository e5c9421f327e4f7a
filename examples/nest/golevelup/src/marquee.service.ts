import { randomUUID } from 'node:crypto';
import { AmqpConnection } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import type { MovieCreated } from '../../events';
import { EXCHANGE } from './settings';

/** What this service sends to Marquee. */
@Injectable()
export class MarqueeService {
  constructor(private readonly amqp: AmqpConnection) {}

  /** Publishes an event. A repetition must have the same message id: Marquee stores each id once. */
  async movieCreated(movie: MovieCreated, messageId = randomUUID() as string) {
    await this.amqp.publish(EXCHANGE, 'movie.created', movie, { messageId, persistent: true });
  }

  /** Sends a request, which the bridge answers. A refusal is an answer, too: {status: 'error', problem}. */
  showtimes(query: { movieId?: string; date?: string; pageSize?: number }) {
    return this.amqp.request<{ total: number }>({ exchange: EXCHANGE, routingKey: 'movie.showtimes', payload: query });
  }
}

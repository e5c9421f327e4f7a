import { randomUUID } from 'node:crypto';
import { Nack, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import type { ConsumeMessage } from 'amqplib';
import type { MarqueeEvents, ReservationConfirmed, ReservationCreated } from '../../events';
import { MarqueeService } from './marquee.service';
import { EXCHANGE, QUEUE } from './settings';

@Injectable()
export class EventsHandler {
  /** The ids of events that were handled. A real service keeps them in its database, in the transaction of their effect. */
  private readonly handled = new Set<string>();

  constructor(private readonly marquee: MarqueeService) {}

  /** One queue for all events keeps their order. */
  @RabbitSubscribe({
    exchange: EXCHANGE,
    routingKey: ['reservation.created', 'reservation.confirmed'] satisfies (keyof MarqueeEvents)[],
    queue: QUEUE,
    queueOptions: { durable: true },
  })
  async handle(event: ReservationCreated | ReservationConfirmed, message: ConsumeMessage) {
    const messageId: string = message.properties.messageId;
    if (this.handled.has(messageId)) return;
    // Before the first await: a second copy may arrive meanwhile.
    this.handled.add(messageId);
    try {
      if (message.fields.routingKey === 'reservation.created') await this.created(event);
      else await this.confirmed(event, messageId);
    } catch (error) {
      console.error('failed', error);
      this.handled.delete(messageId);
      // To the dead letters, if the queue has the policy of docs/bridge.md. Thrown, it would return without delay, for ever.
      return new Nack(false);
    }
  }

  private async created(event: ReservationCreated) {
    const { total } = await this.marquee.showtimes({ pageSize: 1 });
    console.log(`${event.seats.length} seats held for ${event.movieTitle}; ${total} showtimes are on sale`);
  }

  private async confirmed(event: ReservationCreated, messageId: string) {
    console.log(`confirmed ${event.reservationId} as ${messageId}: ${event.seats.join(', ')}`);
    // Only to show how this service publishes an event itself.
    const movieId = randomUUID();
    await this.marquee.movieCreated({ movieId, title: `Encore of ${event.movieTitle}`, genres: [], createdBy: event.userId });
    console.log(`emitted movie ${movieId}`);
  }
}

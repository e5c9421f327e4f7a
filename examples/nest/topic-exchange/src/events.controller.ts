import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload, RmqContext } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import type { ReservationConfirmed, ReservationCreated } from '../../events';
import { MarqueeService } from './marquee.service';

// `<string>`: the types of Nest 12 otherwise allow no context beside the event.
@Controller()
export class EventsController {
  /** The ids of events that were handled. A real service keeps them in its database, in the transaction of their effect. */
  private readonly handled = new Set<string>();

  constructor(private readonly marquee: MarqueeService) {}

  @EventPattern<string>('reservation.created')
  async created(@Payload() event: ReservationCreated, @Ctx() context: RmqContext) {
    await this.once(context, async () => {
      const { total } = await this.marquee.showtimes({ pageSize: 1 });
      console.log(`${event.seats.length} seats held for ${event.movieTitle}; ${total} showtimes are on sale`);
    });
  }

  @EventPattern<string>('reservation.confirmed')
  async confirmed(@Payload() event: ReservationConfirmed, @Ctx() context: RmqContext) {
    await this.once(context, async (messageId) => {
      console.log(`confirmed ${event.reservationId} as ${messageId}: ${event.seats.join(', ')}`);
      // Only to show how this service publishes an event itself.
      const movieId = randomUUID();
      await this.marquee.movieCreated({ movieId, title: `Encore of ${event.movieTitle}`, genres: [], createdBy: event.userId });
      console.log(`emitted movie ${movieId}`);
    });
  }

  /** Handles an event once and acknowledges it afterwards: every event may arrive more than once, with the same id. */
  private async once(context: RmqContext, handle: (messageId: string) => Promise<void>) {
    const message = context.getMessage();
    const messageId: string = message.properties.messageId;
    try {
      if (!this.handled.has(messageId)) {
        // Before the first await: a second copy may arrive meanwhile.
        this.handled.add(messageId);
        await handle(messageId);
      }
      context.getChannelRef().ack(message);
    } catch (error) {
      console.error('failed', error);
      this.handled.delete(messageId);
      // To the dead letters, if the queue has the policy of docs/bridge.md: the bridge delivers it again later.
      context.getChannelRef().nack(message, false, false);
    }
  }
}

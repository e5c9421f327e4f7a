import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { RmqRecordBuilder, type ClientProxy } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import type { MovieCreated } from '../../events';

/** What this service sends to Marquee. */
@Injectable()
export class MarqueeService {
  constructor(@Inject('MARQUEE') private readonly client: ClientProxy) {}

  /** Publishes an event. A repetition must have the same message id: Marquee stores each id once. */
  async movieCreated(movie: MovieCreated, messageId = randomUUID() as string) {
    const record = new RmqRecordBuilder(movie).setOptions({ messageId, persistent: true }).build();
    await firstValueFrom(this.client.emit('movie.created', record), { defaultValue: undefined });
  }

  /** Sends a request, which the bridge answers. A refusal is an error {status, code, message}. */
  showtimes(query: { movieId?: string; date?: string; pageSize?: number }) {
    return firstValueFrom(this.client.send<{ total: number }>('movie.showtimes', query));
  }
}

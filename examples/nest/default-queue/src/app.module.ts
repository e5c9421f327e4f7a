import { Module } from '@nestjs/common';
import { ClientsModule, Transport } from '@nestjs/microservices';
import { EventsController } from './events.controller';
import { MarqueeService } from './marquee.service';
import { AMQP_URL, INBOX } from './settings';

@Module({
  imports: [
    ClientsModule.register([
      {
        name: 'MARQUEE',
        transport: Transport.RMQ,
        // Without `persistent` RabbitMQ loses at a restart what the client has sent.
        options: { urls: [AMQP_URL], queue: INBOX, queueOptions: { durable: true }, persistent: true },
      },
    ]),
  ],
  controllers: [EventsController],
  providers: [MarqueeService],
})
export class AppModule {}

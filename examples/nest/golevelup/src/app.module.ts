import { RabbitMQModule } from '@golevelup/nestjs-rabbitmq';
import { Module } from '@nestjs/common';
import { EventsHandler } from './events.handler';
import { MarqueeService } from './marquee.service';
import { AMQP_URL, EXCHANGE } from './settings';

@Module({
  imports: [
    RabbitMQModule.forRoot({
      uri: AMQP_URL,
      exchanges: [{ name: EXCHANGE, type: 'topic' }],
      connectionInitOptions: { wait: true, timeout: 20_000 },
    }),
  ],
  providers: [EventsHandler, MarqueeService],
})
export class AppModule {}

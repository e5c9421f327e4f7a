import { Module } from '@nestjs/common';
import { ClientsModule, Transport } from '@nestjs/microservices';
import { EventsController } from './events.controller';
import { MarqueeService } from './marquee.service';
import { OPTIONS } from './settings';

@Module({
  imports: [ClientsModule.register([{ name: 'MARQUEE', transport: Transport.RMQ, options: OPTIONS }])],
  controllers: [EventsController],
  providers: [MarqueeService],
})
export class AppModule {}

// A service on Nest's RabbitMQ transport with a topic exchange (Nest 11.1 and newer): it binds its queue to its patterns itself.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { AppModule } from './app.module';
import { OPTIONS } from './settings';

async function bootstrap() {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
    transport: Transport.RMQ,
    // The handlers acknowledge; otherwise an event is lost when a handler throws.
    options: { ...OPTIONS, noAck: false, prefetchCount: 10 },
  });
  app.enableShutdownHooks();
  await app.listen();
  console.log('ready');
}

void bootstrap();

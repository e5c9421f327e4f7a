// A service on Nest's RabbitMQ transport with one queue: the bridge binds this queue to the events of AMQP_SERVICE_QUEUES.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { AppModule } from './app.module';
import { AMQP_URL, QUEUE } from './settings';

async function bootstrap() {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
    transport: Transport.RMQ,
    options: {
      urls: [AMQP_URL],
      queue: QUEUE,
      queueOptions: { durable: true },
      // The handlers acknowledge; otherwise an event is lost when a handler throws.
      noAck: false,
      prefetchCount: 10,
    },
  });
  app.enableShutdownHooks();
  await app.listen();
  console.log('ready');
}

void bootstrap();

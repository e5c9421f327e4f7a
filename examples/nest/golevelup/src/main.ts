// A service with @golevelup/nestjs-rabbitmq: it binds its queue to the exchange with the data alone.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module';

async function bootstrap() {
  const app = await NestFactory.createApplicationContext(AppModule);
  app.enableShutdownHooks();
  console.log('ready');
}

void bootstrap();

// A NestJS service for the tests of the AMQP bridge, on the transport of its settings. It uses Nest unmodified and contains
// nothing of Marquee: it handles events, emits and sends requests as any other service does.
//
//   node main.js '{"transport": "default" | "topic" | "golevelup", "nest": <folder of its packages>, "url", "queue", …}'
//
// It writes one JSON line for each thing that happens to standard output: {"ready"}, {"received"}, {"emitted"}, {"answer"},
// {"error"}, {"failed"}. It reads one JSON line for each task from standard input: {"emit", "data", "messageId"?},
// {"request", "data"}. It ends with its standard input. A refused declaration (406) ends it with code 1, as any Nest service.
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');

const settings = JSON.parse(process.argv[2]);
const nest = createRequire(`${settings.nest}/package.json`);
nest('reflect-metadata');

const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// The event of a handler, with the fields that identify a redelivery.
const received = (event, data, message) =>
  report({
    received: event,
    data,
    messageId: message.properties.messageId,
    headers: message.properties.headers,
    redelivered: message.fields.redelivered,
  });

async function main() {
  const service = require(settings.transport === 'golevelup' ? './golevelup.js' : './stock.js');
  const { emit, request, close } = await service(nest, settings, received);
  report({ ready: settings.transport });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const task = JSON.parse(line);
    if ('emit' in task) {
      emit(task.emit, task.data, task.messageId)
        .then(() => report({ emitted: task.emit }))
        .catch((error) => report({ failed: task.emit, error: String(error) }));
    } else {
      request(task.request, task.data)
        .then((answer) => report({ answer, to: task.request }))
        .catch((error) => report({ error: error instanceof Error ? error.message : error, to: task.request }));
    }
  }
  await close();
  process.exit(0);
}

main();

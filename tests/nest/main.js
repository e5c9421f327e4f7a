// A NestJS service for the tests of the AMQP bridge, on the transport that its settings name. Nest is not changed, and
// the service contains nothing specific to Marquee: it handles events, emits events and sends requests like any other.
//
//   node main.js '{"transport": "default" | "topic" | "golevelup", "nest": <folder of its packages>, "url", "queue", …}'
//
// Prints one JSON line to standard output for each result: {"ready"}, {"heard"}, {"emitted"}, {"answer"}, {"error"},
// {"failed"}. Reads one JSON line from standard input for each command: {"emit", "data", "messageId"?}, {"ask", "data"}.
// It ends with its standard input; a failed assertion of a queue (406) ends it with code 1, like any Nest service.
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');

const settings = JSON.parse(process.argv[2]);
const nest = createRequire(`${settings.nest}/package.json`);
nest('reflect-metadata');

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// A received event, with what a handler needs to recognise a repeat.
const heard = (event, data, message) =>
  tell({
    heard: event,
    data,
    messageId: message.properties.messageId,
    headers: message.properties.headers,
    redelivered: message.fields.redelivered,
  });

async function main() {
  const service = require(settings.transport === 'golevelup' ? './golevelup.js' : './stock.js');
  const { emit, ask, close } = await service(nest, settings, heard);
  tell({ ready: settings.transport });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const task = JSON.parse(line);
    if ('emit' in task) {
      emit(task.emit, task.data, task.messageId)
        .then(() => tell({ emitted: task.emit }))
        .catch((error) => tell({ failed: task.emit, error: String(error) }));
    } else {
      ask(task.ask, task.data)
        .then((answer) => tell({ answer, to: task.ask }))
        .catch((error) => tell({ error: error instanceof Error ? error.message : error, to: task.ask }));
    }
  }
  await close();
  process.exit(0);
}

main();

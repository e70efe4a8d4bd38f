// A service that logs its requests to a file in one way: node shop.js 'WAY FILE' prints its port.
const express = require('express');
const [way, file] = process.argv[2].split(' ');
const fs = require('fs');
const app = express();
app.disable('x-powered-by');
app.use(express.json());
if (way.startsWith('pino')) {
  const pino = require('pino');
  const redact = way === 'pino-open' ? [] : ['req.headers.authorization', 'req.headers.cookie'];
  const log = pino({ redact }, pino.destination({ dest: file, sync: false, minLength: 0 }));
  app.use(require('pino-http')({ logger: log }));
}
if (way.startsWith('winston')) {
  const winston = require('winston');
  const { combine, timestamp, json, printf } = winston.format;
  const text = printf((i) => `${i.timestamp} ${i.level}: ${i.message}`);
  const log = winston.createLogger({ transports: [new winston.transports.File({ filename: file })],
    format: combine(timestamp(), way === 'winston-text' || way === 'winston-decoded' ? text : json()) });
  app.use((req, res, next) => {
    const url = way === 'winston-decoded' ? decodeURIComponent(req.originalUrl) : req.originalUrl;
    const body = way === 'winston-body' ? { body: req.body } : {};
    res.on('finish', () => setTimeout(() => log.info(`${req.method} ${url} ${res.statusCode}`, body),
      way === 'winston-late' ? 2500 : 0));
    next();
  });
}
app.get('/', (req, res) => res.send('shop'));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));

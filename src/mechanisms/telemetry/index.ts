/** Logs and metrics as every component is given them. */
export { LinePace, type LinePaceOptions } from './line-pace.ts'
export { createLogger, silentLogger, type Logger, type LoggerOptions } from './logger.ts'
export { Counter, createRegistry, Gauge, Histogram, Registry } from './metrics.ts'
export { registerReadCounter } from './read-counter.ts'

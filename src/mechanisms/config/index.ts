/**
 * Configuration: one schema, read from TOML, YAML or JSON. The composition root turns it into running
 * services; nothing below the root sees the file.
 */
export type { Config } from './config.ts'
export { ConfigError, type ConfigErrorCode, type ConfigProblem } from './errors.ts'
export { loadConfig, parseConfig } from './load.ts'
export type { TunnelConfig } from './tunnel-config.ts'
export type { TurnConfig, TurnListenerConfig, TurnPeersConfig } from './turn-config.ts'
export { configJsonSchema, defaultConfig } from './schema.ts'

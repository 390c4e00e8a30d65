/**
 * Configuration: one schema, read from TOML, YAML or JSON. The composition root turns it into running
 * services; nothing below the root sees the file.
 */
export { ConfigError, type ConfigErrorCode, type ConfigProblem } from './errors.ts'
export { loadConfig, parseConfig } from './load.ts'
export { type Config, configJsonSchema, configSchema, defaultConfig } from './schema.ts'

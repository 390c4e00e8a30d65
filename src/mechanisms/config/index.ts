/**
 * Configuration: one schema, read from TOML, YAML or JSON. The composition root turns it into running
 * services; nothing below the root sees the file.
 */
export type { AccessConfig, AccessRuleConfig } from './access-config.ts'
export type { Config } from './config.ts'
export { ConfigError, type ConfigErrorCode, type ConfigProblem } from './errors.ts'
export type { MediaConfig } from './media-config.ts'
export type { OriginConfig, PlacementConfig } from './origins-config.ts'
export { loadConfig, parseConfig } from './load.ts'
export type { MediaTlsConfig } from './tls-config.ts'
export type { TunnelConfig } from './tunnel-config.ts'
export type { TurnConfig, TurnListenerConfig, TurnPeersConfig } from './turn-config.ts'
export { configJsonSchema, defaultConfig } from './schema.ts'
export type { FleetConfig } from './fleet-config.ts'
export type { RedisConfig, RedisTlsConfig } from './redis-config.ts'

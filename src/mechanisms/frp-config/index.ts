/**
 * The configuration of frps and frpc: files in every format that frp takes, in, checked models out. A file is rendered
 * (`renderTemplate`), read as TOML, YAML, JSON or INI, and checked with the schemas that `[tunnel]` of the gateway has too.
 *
 * @module
 */
export * from './config.ts'
export { definitionJson } from './config-json.ts'
export type { FrpConfigErrorCode, FrpConfigProblem } from './errors.ts'
export {
  flagKey,
  type FlagKind,
  type FlagValues,
  frpcCommonFlags,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpcVisitorFlags,
  frpcVisitorRawOf,
  type FrpFlag,
  frpsFlags,
  frpsRawOf,
  INLINE_PROXY_TYPES,
  INLINE_VISITOR_TYPES,
  type InlineProxyType,
  type InlineVisitorType,
} from './flags.ts'
export { tunnelClientSchema } from './frpc-schema.ts'
export { tunnelServerSchema } from './frps-schema.ts'
export {
  type FrpConfigLoadOptions,
  type FrpConfigOptions,
  frpcConfigOf,
  frpsConfigOf,
  type LoadedConfig,
  loadFrpcConfig,
  loadFrpsConfig,
  proxyConfigOf,
  visitorConfigOf,
} from './load.ts'
export { holdsSecret, isTable, schemaAt, unwrapped } from './schema-walk.ts'
export { execSourceKeys } from './value-sources.ts'

import type { FrpcCommonConfig, FrpsConfig } from './config.ts'

/** Keys whose secret is the output of a program. Whoever takes a configuration from others asks before it runs any. */
export function execSourceKeys(
  config: Pick<FrpsConfig | FrpcCommonConfig, 'auth'> | undefined,
): (readonly string[])[] {
  if (config === undefined) return []
  const { tokenSource, oidc } = config.auth
  const oidcSource = 'tokenSource' in oidc ? oidc.tokenSource : undefined
  return [
    ...(tokenSource?.type === 'exec' ? [['auth', 'tokenSource']] : []),
    ...(oidcSource?.type === 'exec' ? [['auth', 'oidc', 'tokenSource']] : []),
  ]
}

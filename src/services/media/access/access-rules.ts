import { sourceOf } from '../../../foundation/source-of.ts'
import type { Role, StreamKey, StreamKeyParts } from '../../../mechanisms/balancer/index.ts'
import type {
  AccessConfig,
  AccessHooksConfig,
  AccessJwtConfig,
  AccessLimitsConfig,
  AccessRoleConfig,
  AccessRuleConfig,
} from '../../../mechanisms/config/access-config.ts'
import { AddressRanges } from '../../../mechanisms/net/index.ts'
import { AccessError } from './errors.ts'
import { Pattern } from './pattern.ts'
import { StaticKeys } from './static-keys.ts'
import type { Tokens } from './tokens.ts'

/** What holds for one role under one rule, ready to be looked at. */
export interface RoleRule {
  readonly policy: 'open' | 'credentials' | 'deny'
  /** Undefined: every address. */
  readonly allowFrom: AddressRanges | undefined
  readonly denyFrom: AddressRanges
  readonly keys: StaticKeys
  readonly keyParameter: string
  readonly tokens: Tokens | undefined
  readonly tokenParameter: string
  readonly wrongPerMinute: number
  readonly limits: AccessLimitsConfig
  readonly hooks: AccessHooksConfig
}

interface Rule {
  readonly vhost: Pattern
  readonly app: Pattern
  readonly stream: Pattern
  readonly roles: Readonly<Record<Role, RoleRule>>
}

/** The rules in force; replaced as a whole. */
export class AccessRules {
  readonly #rules: readonly Rule[]
  /** URLs that one of the rules asks or tells. */
  readonly hookUrls: ReadonlySet<string>

  /** @throws ACCESS_BAD_OPTION, which names the rule */
  constructor(config: AccessConfig, tokensOf: (jwt: AccessJwtConfig) => Tokens) {
    this.#rules = config.map((rule, index) => {
      try {
        return ruleOf(rule, tokensOf)
      } catch (cause) {
        const what = cause instanceof Error ? cause.message : String(cause)
        throw new AccessError('ACCESS_BAD_OPTION', `media.access[${index}] cannot be used: ${what}`, cause)
      }
    })
    this.hookUrls = new Set(
      config.flatMap(({ hooks: { onPublish, onUnpublish, onPlay, onStop } }) => [
        ...onPublish,
        ...onUnpublish,
        ...onPlay,
        ...onStop,
      ]),
    )
  }

  /** The first rule that is for the stream. Without any rules: one that is open; undefined when none matches. */
  find({ vhost, app, stream }: StreamKeyParts, role: Role): RoleRule | undefined {
    if (this.#rules.length === 0) return openRule
    const host = vhost.toLowerCase()
    const found = this.#rules.find(
      (rule) => rule.vhost.matches(host) && rule.app.matches(app) && rule.stream.matches(stream),
    )
    return found?.roles[role]
  }
}

/** What is counted and bounded of a session, by name. */
export function boundsOf(
  { limits }: RoleRule,
  role: Role,
  key: StreamKey,
  { vhost, app }: StreamKeyParts,
  address: string,
): {
  readonly counts: readonly { readonly name: string; readonly max: number }[]
  readonly rates: readonly {
    readonly name: string
    readonly bytesPerSecond: number
    readonly burstBytes: number
  }[]
} {
  const names = {
    stream: `${role} stream ${key}`,
    app: `${role} app ${vhost}/${app}`,
    address: `${role} address ${sourceOf(address)}`,
  }
  const rates = [
    { name: names.stream, bytesPerSecond: limits.streamBytesPerSecond },
    { name: names.app, bytesPerSecond: limits.appBytesPerSecond },
    { name: names.address, bytesPerSecond: limits.addressBytesPerSecond },
  ]
  return {
    counts: [
      { name: names.stream, max: limits.maxPerStream },
      { name: names.app, max: limits.maxPerApp },
      { name: names.address, max: limits.maxPerAddress },
    ],
    rates: rates
      .filter(({ bytesPerSecond }) => bytesPerSecond > 0)
      .map((rate) => ({ ...rate, burstBytes: Math.ceil(rate.bytesPerSecond * limits.burstSeconds) })),
  }
}

function ruleOf(config: AccessRuleConfig, tokensOf: (jwt: AccessJwtConfig) => Tokens): Rule {
  return {
    vhost: new Pattern(config.vhost.toLowerCase()),
    app: new Pattern(config.app),
    stream: new Pattern(config.stream),
    roles: {
      publish: roleRuleOf(config.publish, config.hooks, tokensOf),
      play: roleRuleOf(config.play, config.hooks, tokensOf),
    },
  }
}

function roleRuleOf(
  config: AccessRoleConfig,
  hooks: AccessHooksConfig,
  tokensOf: (jwt: AccessJwtConfig) => Tokens,
): RoleRule {
  const { keys, jwt, allowFrom } = config
  const hasCredentials = keys.length > 0 || jwt !== undefined
  return {
    policy: config.policy ?? (hasCredentials ? 'credentials' : 'open'),
    allowFrom: allowFrom.length === 0 ? undefined : new AddressRanges(allowFrom),
    denyFrom: new AddressRanges(config.denyFrom),
    keys: new StaticKeys(keys),
    keyParameter: config.keyParameter,
    tokens: jwt === undefined ? undefined : tokensOf(jwt),
    tokenParameter: jwt?.parameter ?? '',
    wrongPerMinute: config.wrongPerMinute,
    limits: config.limits,
    hooks,
  }
}

const openRule: RoleRule = {
  policy: 'open',
  allowFrom: undefined,
  denyFrom: new AddressRanges([]),
  keys: new StaticKeys([]),
  keyParameter: '',
  tokens: undefined,
  tokenParameter: '',
  wrongPerMinute: 0,
  limits: {
    maxPerApp: 0,
    maxPerStream: 0,
    maxPerAddress: 0,
    appBytesPerSecond: 0,
    streamBytesPerSecond: 0,
    addressBytesPerSecond: 0,
    burstSeconds: 1,
  },
  hooks: { onPublish: [], onUnpublish: [], onPlay: [], onStop: [], timeoutSeconds: 5, whenAway: 'deny' },
}

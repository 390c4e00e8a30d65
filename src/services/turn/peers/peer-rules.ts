import { LRUCache } from 'lru-cache'
import { ipToBytes } from '../../../foundation/ip-text.ts'
import type { PeerPolicy, PeerProtocol } from './contract.ts'
import { defaultDenyList } from './default-deny-list.ts'
import { embeddedIpv4, unmapIpv4 } from './embedded-ipv4.ts'
import { PeersError } from './errors.ts'
import { type ParsedPeerRule, type PeerRule, parseAddressRange, parsePeerRule } from './peer-rule.ts'
import { allPorts, hasPort, noPorts, type PortRanges, subtractPorts, unitePorts } from './port-ranges.ts'
import type { NameWatch, ResolvedNames } from './resolved-names.ts'
import { RuleTable, type TableRule } from './rule-table.ts'

/** Whom clients may reach. */
export interface PeerRulesOptions {
  /**
   * `public`: every address but those of `defaultDenyList` and of `deny`. `none`: only those of `allow`, private ones
   * too, as STUNner's routes have it.
   */
  readonly byDefault: 'public' | 'none'
  /**
   * Admitted whatever else is said: allow beats deny, and beats the default deny list. Whoever answers for a name that
   * is allowed says which addresses are. @defaultValue none
   */
  readonly allow?: readonly (string | PeerRule)[]
  /**
   * Refused on top of the default deny list; only with `public`. Addresses and ranges: a name would deny nothing while
   * it is not resolved. @defaultValue none
   */
  readonly deny?: readonly (string | PeerRule)[]
}

/** Where its rules come from, besides the options. */
export interface PeerRulesResources {
  /** Follows the DNS names in rules; whoever made it starts and closes it. @defaultValue rules have no names */
  readonly names?: ResolvedNames
}

/** Verdicts that are remembered; an address that fell out is judged anew, in a few microseconds. */
const MAX_REMEMBERED = 4096

/**
 * Admits peers by rules that can be replaced at run time.
 *
 * An IPv6 address that carries an IPv4 address is judged by both: a deny reaches through NAT64, 6to4, Teredo and the
 * other forms of `embeddedIpv4`, and an allow does not, since it says nothing of the translator. So
 * `64:ff9b::a00:1` needs a rule that allows it as IPv6. A rule that is so wide that it leaves the carried address
 * open (`64:ff9b::/96`, `::/0`) admits only what is not denied as IPv4, or is allowed as IPv4 too; one that spells
 * out some of it (`64:ff9b::a00:0/104`, a single address, a resolved name) admits what it says. A translator with a
 * prefix of the network's own (RFC 6052 §2.2) looks like any other network: deny its prefix.
 *
 * @example
 * const rules = new PeerRules({ byDefault: 'public', allow: ['10.1.0.0/16:10000-20000'] })
 * rules.admits('10.1.2.3', 10_000, 'udp') // true
 * rules.admits('10.1.2.3', 22, 'udp') // false
 */
export class PeerRules implements PeerPolicy {
  readonly #names: ResolvedNames | undefined
  readonly #callbacks = new Set<{ readonly call: () => void }>()
  readonly #remembered = new LRUCache<string, Record<PeerProtocol, PortRanges>>({ max: MAX_REMEMBERED })
  #watch: NameWatch | undefined
  #rules: ParsedRules
  #allow: RuleTable
  #deny: RuleTable

  /** @throws PEERS_BAD_RULE, PEERS_BAD_OPTION, PEERS_TOO_MANY_NAMES */
  constructor(options: PeerRulesOptions, { names }: PeerRulesResources = {}) {
    this.#names = names
    this.#rules = parseRules(options)
    this.#follow(this.#rules)
    this.#allow = this.#table(this.#rules.allow)
    this.#deny = this.#table(this.#rules.deny)
  }

  admitsAddress(address: string, protocol: PeerProtocol): boolean {
    return this.#portsOf(address, protocol).length > 0
  }

  admits(address: string, port: number, protocol: PeerProtocol): boolean {
    return hasPort(this.#portsOf(address, protocol), port)
  }

  onChange(callback: () => void): () => void {
    const entry = { call: callback }
    this.#callbacks.add(entry)
    return () => this.#callbacks.delete(entry)
  }

  /**
   * Puts other rules in place of all that there were, then calls the `onChange` callbacks. On an error nothing has
   * changed. A name that is in both keeps its addresses.
   *
   * @throws PEERS_BAD_RULE, PEERS_BAD_OPTION, PEERS_TOO_MANY_NAMES
   */
  replace(options: PeerRulesOptions): void {
    const rules = parseRules(options)
    this.#follow(rules)
    this.#rules = rules
    this.#changed()
  }

  /** Follows its names no longer, and admits their last addresses no longer. The other rules stay. */
  close(): void {
    this.#watch?.close()
    this.#watch = undefined
    this.#callbacks.clear()
    this.#changed()
  }

  #follow({ names }: ParsedRules): void {
    if (this.#watch !== undefined) {
      this.#watch.replace(names)
    } else if (names.size > 0) {
      if (this.#names === undefined) {
        const [name] = names
        throw new PeersError(
          'PEERS_BAD_OPTION',
          `a rule names "${name}", and there are no \`names\` to follow it`,
        )
      }
      this.#watch = this.#names.watch(names, () => this.#changed())
    }
  }

  #changed(): void {
    this.#allow = this.#table(this.#rules.allow)
    this.#deny = this.#table(this.#rules.deny)
    this.#remembered.clear()
    for (const callback of [...this.#callbacks]) callback.call()
  }

  #table(rules: readonly ParsedPeerRule[]): RuleTable {
    return new RuleTable(rules.flatMap((rule) => this.#expand(rule)))
  }

  #expand({ target, ports, protocol }: ParsedPeerRule): readonly TableRule[] {
    if (typeof target !== 'string') return [{ ...target, ports, protocol }]
    const addresses = this.#watch?.addressesOf(target) ?? []
    return addresses.flatMap((address) => {
      const range = parseAddressRange(address)
      return range === undefined ? [] : [{ ...range, ports, protocol }]
    })
  }

  /** The ports of an address that may be reached; none of what is no address. */
  #portsOf(address: string, protocol: PeerProtocol): PortRanges {
    const known = this.#remembered.get(address)
    if (known !== undefined) return known[protocol]
    const bytes = ipToBytes(address)
    // Not remembered: only addresses are short.
    if (bytes === undefined) return noPorts
    const ip = unmapIpv4(bytes)
    const ports = { udp: this.#judge(ip, 'udp'), tcp: this.#judge(ip, 'tcp') }
    this.#remembered.set(address, ports)
    return ports[protocol]
  }

  #judge(ip: Uint8Array, protocol: PeerProtocol): PortRanges {
    const carried = embeddedIpv4(ip).map(({ ip: ipv4, fromBit }) => ({
      fromBit,
      denied: this.#denied(ipv4, protocol),
      allowed: union(this.#allow.find(ipv4, protocol)),
    }))
    let admitted = noPorts
    if (this.#rules.byDefault === 'public') {
      admitted = subtractPorts(allPorts, this.#denied(ip, protocol))
      for (const { denied } of carried) admitted = subtractPorts(admitted, denied)
    }
    for (const rule of this.#allow.find(ip, protocol)) {
      let { ports } = rule
      for (const { fromBit, denied, allowed } of carried) {
        if (rule.bits <= fromBit) ports = subtractPorts(ports, subtractPorts(denied, allowed))
      }
      admitted = unitePorts(admitted, ports)
    }
    return admitted
  }

  #denied(ip: Uint8Array, protocol: PeerProtocol): PortRanges {
    return union([...deniedByDefault.find(ip, protocol), ...this.#deny.find(ip, protocol)])
  }
}

interface ParsedRules {
  readonly byDefault: 'public' | 'none'
  readonly allow: readonly ParsedPeerRule[]
  readonly deny: readonly ParsedPeerRule[]
  readonly names: ReadonlySet<string>
}

function parseRules({ byDefault, allow = [], deny = [] }: PeerRulesOptions): ParsedRules {
  if (byDefault !== 'public' && byDefault !== 'none') {
    throw new PeersError('PEERS_BAD_OPTION', `byDefault "${String(byDefault)}" is neither public nor none`)
  }
  if (byDefault === 'none' && deny.length > 0) {
    // Allow beats deny, so these would do nothing, and somebody counts on them.
    throw new PeersError(
      'PEERS_BAD_OPTION',
      'deny has no effect with byDefault "none", where only what is allowed is reached: narrow allow instead',
    )
  }
  const parsed = {
    allow: allow.map((rule, i) => parsePeerRule(rule, `allow[${i}]`)),
    deny: deny.map((rule, i) => parsePeerRule(rule, `deny[${i}]`)),
  }
  parsed.deny.forEach(({ target }, i) => {
    if (typeof target !== 'string') return
    throw new PeersError(
      'PEERS_BAD_RULE',
      `deny[${i}] "${target}": a name denies nothing while it is not resolved; write an address or a range`,
    )
  })
  const names = parsed.allow.flatMap(({ target }) => (typeof target === 'string' ? [target] : []))
  return { byDefault, ...parsed, names: new Set(names) }
}

function union(rules: readonly TableRule[]): PortRanges {
  return rules.reduce((ports, rule) => unitePorts(ports, rule.ports), noPorts)
}

const deniedByDefault = new RuleTable(
  defaultDenyList.map(({ range }) => {
    const parsed = parseAddressRange(range)
    if (parsed === undefined) throw new PeersError('PEERS_BAD_RULE', `default deny list: "${range}"`)
    return { ...parsed, ports: allPorts, protocol: undefined }
  }),
)

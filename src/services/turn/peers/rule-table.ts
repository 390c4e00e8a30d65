import { ipToText } from '../../../foundation/ip-text.ts'
import type { PeerProtocol } from './contract.ts'
import type { AddressRange } from './peer-rule.ts'
import type { PortRanges } from './port-ranges.ts'

/** A range of addresses, the ports of it, and the protocol unless both are meant. */
export interface TableRule extends AddressRange {
  readonly ports: PortRanges
  /** Undefined: both. */
  readonly protocol: PeerProtocol | undefined
}

/** Rules, found by an address. Single addresses cost nothing, however many; ranges are tried in turn. */
export class RuleTable {
  readonly #single = new Map<string, TableRule[]>()
  readonly #ranges: TableRule[] = []

  constructor(rules: Iterable<TableRule>) {
    for (const { ip, bits, ports, protocol } of rules) {
      // One shape for all: objects that come of spreading are several times slower to look through.
      const rule = { ip, bits, ports, protocol }
      if (rule.bits < rule.ip.length * 8) {
        this.#ranges.push(rule)
        continue
      }
      const key = ipToText(rule.ip)
      const same = this.#single.get(key)
      if (same === undefined) this.#single.set(key, [rule])
      else same.push(rule)
    }
  }

  /** Every rule that covers an address, given by its bytes. */
  find(ip: Uint8Array, protocol: PeerProtocol): readonly TableRule[] {
    const found: TableRule[] = []
    for (const rule of this.#single.get(ipToText(ip)) ?? []) if (isOf(rule, protocol)) found.push(rule)
    for (const rule of this.#ranges) if (isOf(rule, protocol) && covers(rule, ip)) found.push(rule)
    return found
  }
}

function isOf({ protocol }: TableRule, asked: PeerProtocol): boolean {
  return protocol === undefined || protocol === asked
}

function covers(range: AddressRange, ip: Uint8Array): boolean {
  if (range.ip.length !== ip.length) return false
  const whole = range.bits >>> 3
  for (let i = 0; i < whole; i++) if (range.ip[i] !== ip[i]) return false
  const rest = range.bits & 7
  return rest === 0 || (((range.ip[whole] ?? 0) ^ (ip[whole] ?? 0)) & (0xff00 >> rest) & 0xff) === 0
}

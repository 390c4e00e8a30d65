import { BlockList, isIP } from 'node:net'
import { NetError, NetErrorCode } from './errors.ts'

/** Literal addresses and CIDR ranges, to look addresses up in. */
export class AddressRanges {
  readonly #list = new BlockList()
  readonly #isEmpty: boolean

  /** @throws NET_BAD_RANGE */
  constructor(ranges: readonly string[]) {
    this.#isEmpty = ranges.length === 0
    for (const range of ranges) this.#add(range)
  }

  /** An IPv4 address is found however it is written, also as `::ffff:192.0.2.1`. */
  has(address: string): boolean {
    // A look into a list takes a microsecond of each connection, and most listeners have no ranges.
    if (this.#isEmpty) return false
    const family = isIP(address)
    return family !== 0 && this.#list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }

  #add(range: string): void {
    const [address = '', prefix, ...more] = range.split('/')
    const family = isIP(address)
    const bits = family === 4 ? 32 : 128
    const length = prefix === undefined ? bits : Number(prefix)
    if (
      family === 0 ||
      more.length > 0 ||
      (prefix !== undefined && !/^\d{1,3}$/.test(prefix)) ||
      length > bits
    ) {
      throw new NetError(NetErrorCode.badRange, `"${range}" is no address and no range such as 10.0.0.0/8`)
    }
    this.#list.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6')
  }
}

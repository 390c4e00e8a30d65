import { isIP } from 'node:net'

/** The text without the brackets that an IPv6 address may stand in. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}

/** Whether a text, without brackets, is an address or a host name at which somebody can be. */
export function isDialable(host: string): boolean {
  switch (isIP(host)) {
    case 4:
      // 0.0.0.0/8 would reach ourselves, 224.0.0.0/3 nobody.
      return !/^0\.|^(?:22[4-9]|2[3-5]\d)\./.test(host)
    case 6:
      return !/%|^[0:]+$|^ff/i.test(host)
    default:
      return /^(?!-)[a-z\d_-]{1,63}(?:\.[a-z\d_-]{1,63})*\.?$/i.test(host) && !/^[\d.]+$/.test(host)
  }
}

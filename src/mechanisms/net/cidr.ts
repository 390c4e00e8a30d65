import { isIP } from 'node:net'

/** Whether a text is an address, or a range such as `10.0.0.0/8` or `fd00::/8`. */
export function isCidr(text: string): boolean {
  const [base = '', bits, ...rest] = text.split('/')
  const version = isIP(base)
  if (version === 0 || rest.length > 0) return false
  if (bits === undefined) return true
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)
}

import { X509Certificate } from 'node:crypto'
import { type Certificate, certificateNames } from '../net/index.ts'

const DAY_MS = 86_400_000
/** What authorities advise for certificates of three months. */
const BEFORE_END_MS = 30 * DAY_MS
/** Those who got certificates at one time shall not all come back at one time. */
const JITTER_OF_LIFETIME = 0.02

/**
 * When a certificate is to be renewed, in milliseconds since 1970: 30 days before its end, and never before two thirds of its
 * lifetime are over. At once when it has not all of the names.
 *
 * @param random 0 to 1; moves it ahead by up to a fiftieth of the lifetime
 */
export function renewalTime(certificate: Certificate, domains: readonly string[], random: number): number {
  const names = new Set(certificateNames(certificate))
  if (!domains.every((domain) => names.has(domain.toLowerCase()))) return 0
  const { validFrom, validTo } = new X509Certificate(certificate.cert)
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  const lifetime = to - from
  const wanted = Math.max(from + (lifetime * 2) / 3, to - BEFORE_END_MS)
  return wanted - random * JITTER_OF_LIFETIME * lifetime
}

const FIRST_RETRY_MS = 5 * 60_000
const MAX_RETRY_MS = 6 * 3_600_000

/**
 * How long to wait after so many failures: five minutes, doubled each time up to six hours. Authorities allow a handful of
 * failures of a name within an hour.
 *
 * @param random 0 to 1; adds up to a tenth
 */
export function retryDelay(failures: number, random: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 30), MAX_RETRY_MS) * (1 + random / 10)
}

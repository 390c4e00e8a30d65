import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { AddressRanges } from '../../../mechanisms/net/index.ts'

/** Whoever knows name and password of the web server; with both empty everybody. */
export class WebPassword {
  readonly #digest: Buffer | undefined

  constructor({ user, password }: { readonly user: string; readonly password: string }) {
    this.#digest = user === '' && password === '' ? undefined : digest(`${user}:${password}`)
  }

  get isSet(): boolean {
    return this.#digest !== undefined
  }

  /** Takes equally long whatever was sent. */
  isGivenIn({ headers }: IncomingMessage): boolean {
    if (this.#digest === undefined) return true
    const [, encoded = ''] = /^Basic +([^ ]*) *$/i.exec(headers.authorization ?? '') ?? []
    return timingSafeEqual(digest(Buffer.from(encoded, 'base64').toString()), this.#digest)
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/**
 * Whether a page of another site asked. Browsers send the password, which they know, along with what such a page sends;
 * it must not change anything here.
 */
export function isCrossSite({ headers }: IncomingMessage): boolean {
  const { origin, host, 'sec-fetch-site': site } = headers
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  if (origin === undefined) return false
  return !URL.canParse(origin) || new URL(origin).host !== host
}

/**
 * Whether a page may have made its own domain point at this machine (DNS rebinding), so that it passes for one of ours.
 * Public names have a dot; where a password is asked for, such a page does not have it.
 */
export function isRebound({ headers, socket }: IncomingMessage): boolean {
  const name = headers.host?.replace(/:\d*$/, '').toLowerCase() ?? ''
  const isPublicName =
    name.includes('.') && isIP(name) === 0 && !name.endsWith('.localhost') && !name.startsWith('[')
  return isPublicName && isLoopback(socket.localAddress ?? '')
}

/** Whether only programs of this machine can reach an address. */
export function isLoopback(address: string): boolean {
  return LOOPBACK.has(address)
}

const LOOPBACK = new AddressRanges(['127.0.0.0/8', '::1'])

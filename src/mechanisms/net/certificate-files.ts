import { readFile } from 'node:fs/promises'
import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { type Certificate, tlsContextOptions } from './certificate.ts'
import { NetError, NetErrorCode } from './errors.ts'

/** Where a certificate is, and who is told when it changes. */
export interface CertificateFilesOptions {
  /** PEM, with the chain. */
  readonly certFile: string
  /** PEM. */
  readonly keyFile: string
  /** Told of each certificate after the first, once both files are whole and fit together. */
  readonly onChange: (certificate: Certificate) => void
  /** Told, once per change, why the new files cannot be used; the certificate before stays. */
  readonly onError: (error: unknown) => void
  /** How often the files are read, in milliseconds; a change shows within twice that. @defaultValue 5000 */
  readonly pollMs?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** What was in the files at one time, or why it cannot be used. */
interface Snapshot {
  /** Differs when anything differs. */
  readonly text: string
  readonly found: Certificate | NetError
}

/**
 * A certificate in files that are replaced now and then. The files are read again and compared, which notices every
 * way of replacing them: written in place, renamed over, a symlink to a directory that is turned (Kubernetes), a network
 * file system that tells nobody. A change counts when two readings agree, so that the one file is not taken without
 * the other.
 */
export class CertificateFiles implements Lifecycle {
  readonly #options: CertificateFilesOptions
  readonly #pollMs: number
  readonly #clock: Clock
  #certificate: Certificate | undefined
  /** What the last change led to, used or refused. */
  #settled = ''
  #lastSeen = ''
  #timer: Timer | undefined
  #isStarted = false
  /** Counts closings: a reading that was under way at one is for nothing. */
  #run = 0

  constructor(options: CertificateFilesOptions) {
    this.#options = options
    this.#pollMs = options.pollMs ?? 5000
    this.#clock = options.clock ?? systemClock
  }

  /** The last good one; undefined before `start`. */
  get certificate(): Certificate | undefined {
    return this.#certificate
  }

  /** @throws NET_BAD_CERTIFICATE that names the files, when they cannot be read or used */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#isStarted) return
    this.#isStarted = true
    const run = this.#run
    try {
      const snapshot = await this.#read()
      signal?.throwIfAborted()
      if (snapshot.found instanceof NetError) throw snapshot.found
      if (run !== this.#run) return
      this.#certificate = snapshot.found
      this.#settled = snapshot.text
      this.#lastSeen = snapshot.text
      this.#pollLater(run)
    } catch (error) {
      if (run === this.#run) this.#isStarted = false
      throw error
    }
  }

  async close(): Promise<void> {
    this.#run++
    this.#isStarted = false
    this.#timer?.cancel()
  }

  #pollLater(run: number): void {
    this.#timer = this.#clock.after(this.#pollMs, () => void this.#poll(run))
  }

  async #poll(run: number): Promise<void> {
    const snapshot = await this.#read()
    if (run !== this.#run) return
    this.#pollLater(run)
    const isSteady = snapshot.text === this.#lastSeen
    this.#lastSeen = snapshot.text
    if (!isSteady || snapshot.text === this.#settled) return
    this.#settled = snapshot.text
    const { onChange, onError } = this.#options
    const { found } = snapshot
    if (found instanceof NetError) {
      onError(found)
      return
    }
    // A bad one went, and what was there before it came back.
    if (isSame(found, this.#certificate)) return
    this.#certificate = found
    try {
      onChange(found)
    } catch (error) {
      onError(error)
    }
  }

  /** Never rejects. */
  async #read(): Promise<Snapshot> {
    const { certFile, keyFile } = this.#options
    let text = ''
    try {
      const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')])
      text = `${cert}\n${key}`
      const certificate = { cert, key }
      tlsContextOptions(certificate)
      return { text, found: certificate }
    } catch (cause) {
      const message = `${certFile} with ${keyFile}: ${errorMessage(cause)}`
      const error = new NetError(NetErrorCode.badCertificate, message, cause)
      return { text: text || message, found: error }
    }
  }
}

function isSame(one: Certificate, other: Certificate | undefined): boolean {
  return one.cert === other?.cert && one.key === other.key
}

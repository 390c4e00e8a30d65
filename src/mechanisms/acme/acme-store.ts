import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import { type Certificate, tlsContextOptions } from '../net/index.ts'
import { AcmeError, AcmeErrorCode } from './errors.ts'
import { writePrivateFile } from '../files/index.ts'

/** An account at an authority, and how its last attempts ended. */
export interface AcmeAccount {
  /** Private, PEM. */
  readonly key: string
  /** Undefined while it is not registered. */
  readonly url?: string | undefined
  /** Attempts that failed since the last success. Kept, so that restarts do not run into an authority's limits. */
  readonly failed?: AcmeFailures | undefined
}

export interface AcmeFailures {
  /** The names that were asked for. */
  readonly domains: readonly string[]
  readonly count: number
  /** Not before this time, in milliseconds since 1970. */
  readonly retryAtMs: number
}

const accountSchema: z.ZodType<AcmeAccount> = z.object({
  key: z.string().min(1),
  url: z.string().optional(),
  failed: z
    .object({ domains: z.array(z.string()), count: z.number().min(0), retryAtMs: z.number() })
    .optional(),
})

/**
 * Account and certificate in files, in a folder for each authority, so that a certificate of its staging directory is not
 * taken for a real one. Key and certificate are in one file, so that they change together.
 */
export class AcmeStore {
  readonly #account: string
  readonly #certificate: string

  constructor(folder: string, directoryUrl: string) {
    const own = join(folder, directoryUrl.replace(/^https?:\/\//, '').replaceAll(/[^\w.-]+/g, '_'))
    this.#account = join(own, 'account.json')
    this.#certificate = join(own, 'certificate.pem')
  }

  /** Undefined when there is none, or none that can be used. @throws ACME_FOLDER */
  async account(): Promise<AcmeAccount | undefined> {
    const text = await read(this.#account)
    if (text === undefined) return undefined
    try {
      return accountSchema.parse(JSON.parse(text))
    } catch {
      return undefined
    }
  }

  /** @throws ACME_FOLDER */
  async saveAccount(account: AcmeAccount): Promise<void> {
    await write(this.#account, `${JSON.stringify(account)}\n`)
  }

  /** Undefined when there is none, or none that can be used. @throws ACME_FOLDER */
  async certificate(): Promise<Certificate | undefined> {
    const text = (await read(this.#certificate)) ?? ''
    const blocks = text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?/g) ?? []
    const isKey = (block: string): boolean => block.includes('PRIVATE KEY-----')
    const certificate = {
      cert: blocks.filter((block) => !isKey(block)).join(''),
      key: blocks.find(isKey) ?? '',
    }
    try {
      tlsContextOptions(certificate)
      return certificate
    } catch {
      return undefined
    }
  }

  /** @throws ACME_FOLDER */
  async saveCertificate({ cert, key }: Certificate): Promise<void> {
    await write(this.#certificate, `${String(key).trimEnd()}\n${String(cert).trimEnd()}\n`)
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw folderError(path, error)
  }
}

async function write(path: string, text: string): Promise<void> {
  try {
    await writePrivateFile(path, text)
  } catch (error) {
    throw folderError(path, error)
  }
}

function folderError(path: string, cause: unknown): AcmeError {
  return new AcmeError(AcmeErrorCode.folder, `${path}: ${errorMessage(cause)}`, cause)
}

import { readFile, stat } from 'node:fs/promises'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { ProxyConfig, VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import type { ClientWork } from '../client/contract.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { writePrivateFile } from '../../../mechanisms/files/index.ts'
import { StoreEntries } from './store-entries.ts'

/** What a store is made of. */
export interface ProxyStoreOptions {
  /** JSON as frpc keeps it: `{"proxies": [...], "visitors": [...]}`. Need not be there yet. */
  readonly file: string
  /** Checks an entry of a configuration file. @throws with what is wrong */
  readonly parseProxy: (entry: unknown) => ProxyConfig
  readonly parseVisitor: (entry: unknown) => VisitorConfig
}

/** A longer file is not read. */
const MAX_BYTES = 16 * 1024 * 1024

/**
 * Proxies and visitors that were made by the API. They are kept in a file of their own and stand above those of the
 * configuration file with the same name.
 */
export class ProxyStore {
  readonly proxies: StoreEntries<ProxyConfig>
  readonly visitors: StoreEntries<VisitorConfig>
  readonly #file: string
  /** Changes wait for one another. */
  #last: Promise<unknown> = Promise.resolve()

  constructor({ file, parseProxy, parseVisitor }: ProxyStoreOptions) {
    this.#file = file
    this.proxies = new StoreEntries('proxy', parseProxy)
    this.visitors = new StoreEntries('visitor', parseVisitor)
  }

  /** Reads the file. @throws TunnelError TUNNEL_BAD_OPTION when it cannot be read or holds something else */
  async load(): Promise<void> {
    try {
      const { size } = await stat(this.#file)
      if (size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`)
      const text = await readFile(this.#file, 'utf8')
      const stored: unknown = JSON.parse(text)
      if (typeof stored !== 'object' || stored === null || Array.isArray(stored))
        throw new Error('an object was expected')
      this.proxies.load('proxies' in stored ? stored.proxies : [])
      this.visitors.load('visitors' in stored ? stored.visitors : [])
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return
      const message = `store.path ${this.#file} cannot be loaded: ${errorMessage(cause)}`
      throw new TunnelError(TunnelErrorCode.badOption, message, { side: 'self', cause })
    }
  }

  /** What is to run, when the configuration file says `work`. */
  over(work: ClientWork): ClientWork {
    return { proxies: this.proxies.over(work.proxies), visitors: this.visitors.over(work.visitors) }
  }

  /**
   * Makes a change and writes the file; when that fails, nothing has changed.
   * @throws WebError of the change, or the file's error
   */
  change<Result>(action: () => Result): Promise<Result> {
    const run = this.#last.then(async () => {
      const undo = [this.proxies.snapshot(), this.visitors.snapshot()]
      const result = action()
      try {
        const json = { proxies: this.proxies.toJson(), visitors: this.visitors.toJson() }
        await writePrivateFile(this.#file, `${JSON.stringify(json, undefined, 2)}\n`)
      } catch (error) {
        for (const restore of undo) restore()
        throw error
      }
      return result
    })
    this.#last = run.catch(() => {})
    return run
  }
}

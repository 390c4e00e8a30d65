import { readFile, stat } from 'node:fs/promises'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'

/** A larger file is not sent. */
const MAX_PAGE_BYTES = 1024 * 1024

const OWN_PAGE = Buffer.from(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Not Found</title></head>
<body>
<h1>Not Found</h1>
<p>Nothing is published at this address. It may come back when its service connects again.</p>
</body>
</html>
`)

/** The page for hosts and paths that lead nowhere: the operator's file, or one of our own. */
export class NotFoundPage {
  readonly #path: string
  readonly #log: Logger
  #kept: { readonly version: string; readonly page: Buffer } | undefined

  /** @param path `custom404Page`; empty: none */
  /** Why the file could not be read the last time. */
  #reason = ''

  constructor(path: string, logger: Logger) {
    this.#path = path
    this.#log = logger
  }

  /** The file as it is now, read anew when it has changed; our own page while it cannot be read. */
  async read(): Promise<Buffer> {
    if (this.#path === '') return OWN_PAGE
    try {
      const { mtimeMs, size, ino } = await stat(this.#path)
      if (size > MAX_PAGE_BYTES) throw new RangeError(`the page exceeds ${MAX_PAGE_BYTES} bytes`)
      const version = `${mtimeMs} ${size} ${ino}`
      if (this.#kept?.version !== version) this.#kept = { version, page: await readFile(this.#path) }
      this.#reason = ''
      return this.#kept.page
    } catch (error) {
      // Once for each reason: strangers can ask as often as they like.
      const reason = errorMessage(error)
      if (reason !== this.#reason) this.#log.warn({ path: this.#path, reason }, 'read custom 404 page error')
      this.#reason = reason
      return OWN_PAGE
    }
  }
}

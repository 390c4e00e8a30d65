import { SluiceError } from '../../foundation/errors.ts'

/**
 * - `STUNNERD_BAD_ORIGIN`: nothing can be read where `--config` or `STUNNER_CONFIG_ORIGIN` points; the message says what is
 *   possible.
 * - `STUNNERD_BAD_OPTION`: an option of the command line is not what it must be; the message names it.
 * - `STUNNERD_CONFIG_UNAVAILABLE`: the file or the config discovery server does not give a configuration; see the message.
 */
export type StunnerdErrorCode = 'STUNNERD_BAD_ORIGIN' | 'STUNNERD_BAD_OPTION' | 'STUNNERD_CONFIG_UNAVAILABLE'

/** What keeps `stunnerd` from its configuration. */
export class StunnerdError extends SluiceError {
  override readonly name = 'StunnerdError'

  constructor(code: StunnerdErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: 'self', retryable: code === 'STUNNERD_CONFIG_UNAVAILABLE', cause })
  }
}

import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `RedisError`, with what to do about each. */
export type RedisErrorCode =
  /**
   * The command was not done: Redis is not connected, or it serves nobody at present (`reply`), or too many commands wait for
   * answers. Go on without it; it comes back by itself.
   */
  | 'REDIS_AWAY'
  /** No answer came in time, or the connection ended before it. The command may have been done. */
  | 'REDIS_SLOW'
  /** Redis answered with an error; `reply` is its first word. The message says what to change where that helps. */
  | 'REDIS_REFUSED'
  /** An option has a value that means nothing, or contradicts another one; the message names it. Change the configuration. */
  | 'REDIS_BAD_OPTION'

/** What kept a command from being answered. Neither message nor cause has anything of what was sent. */
export class RedisError extends SluiceError {
  override readonly name = 'RedisError'
  override readonly code: RedisErrorCode
  /** The first word of what Redis answered, such as `WRONGTYPE`; undefined unless it answered. */
  readonly reply: string | undefined
  /** What Redis answered, without what was sent; undefined unless it answered. */
  readonly words: string | undefined

  constructor(code: RedisErrorCode, message: string, reply?: string, words?: string) {
    const isOurs = code === 'REDIS_BAD_OPTION'
    super(code, message, { side: isOurs ? 'self' : 'origin', retryable: !isOurs && code !== 'REDIS_REFUSED' })
    this.code = code
    this.reply = reply
    this.words = words
  }
}

/** Longest words of Redis that an error repeats. */
const SHOWN_CHARACTERS = 200

/** First words of answers by which a server says that it serves nobody at present: nothing was done. */
const NOT_NOW: ReadonlySet<string> = new Set(['LOADING', 'MASTERDOWN', 'READONLY', 'CLUSTERDOWN', 'TRYAGAIN'])

/** What Redis answered, as an error. Its words are cut where they repeat what was sent. */
export function refusal(command: string, text: string): RedisError {
  // Everything from the first quote on, as `ERR unknown command 'x', with args beginning with: 'y'` shows.
  const [words = ''] = text.split(/[`'"]/, 1)
  const shown = words.trim().slice(0, SHOWN_CHARACTERS)
  const reply = firstWord(text)
  const advice = ADVICE[reply]
  return new RedisError(
    NOT_NOW.has(reply) ? 'REDIS_AWAY' : 'REDIS_REFUSED',
    `${command}: Redis answered: ${shown}${advice === undefined ? '' : `; ${advice}`}`,
    reply,
    shown,
  )
}

/** Of what failed inside a script, that; Redis before 7 puts it behind its own words. */
function firstWord(text: string): string {
  const first = /^-?([A-Z]+)\b/.exec(text)?.[1] ?? 'ERR'
  return (first === 'ERR' ? /: -([A-Z]+) /.exec(text)?.[1] : undefined) ?? first
}

const ADVICE: Readonly<Record<string, string>> = {
  NOAUTH: 'it wants a password: set redis.password',
  WRONGPASS: 'redis.user or redis.password is wrong',
  NOPERM: 'the ACL of redis.user does not allow it',
  MOVED: 'it is a node of a Cluster: set redis.cluster',
}

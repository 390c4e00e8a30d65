import { createServer } from 'node:net'
import { errorCode } from '../../foundation/errors.ts'
import { listenTcp, parseListenText } from '../../mechanisms/net/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'

const USUAL = '127.0.0.1:9190'
const ANY_FREE = '127.0.0.1:0'

/**
 * Where the admin API listens when nobody has said it: the usual port, or a free one if that is taken. The SRS proxy has no such
 * port, so whoever runs two of them on a machine must not find that the second does not start.
 */
export async function adminListener(logger: Logger, usual: string = USUAL): Promise<string> {
  const probe = createServer()
  try {
    await listenTcp(probe, parseListenText(usual) ?? { host: '127.0.0.1', port: 0 })
  } catch (error) {
    if (errorCode(error) !== 'NET_PORT_TAKEN') throw error
    logger.warn({ listen: usual }, 'the admin port is taken, another one is used; --admin says which')
    return ANY_FREE
  }
  await new Promise((resolve) => probe.close(resolve))
  return usual
}

import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../foundation/free-port.testkit.ts'
import { makeFolder, makeParts, run, serverConfig } from './frp-services.testkit.ts'
import { FrpsService } from './frps-service.ts'

const warning = 'auth.token is empty: whoever reaches the port may log in, and encryption has no secret'

/** What a server with this `auth` warns of as it starts. */
async function warningsOf(auth: object): Promise<readonly string[]> {
  const { parts, lines } = await makeParts()
  await run(new FrpsService(serverConfig({ bindPort: await freePort(), auth }), parts))
  return lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)
}

describe('a server as a service', () => {
  test('warns when nothing keeps strangers out', async () => {
    expect(await warningsOf({})).toEqual([warning])
    expect(await warningsOf({ token: '' })).toEqual([warning])
  })

  test('does not when something does', async () => {
    const file = join(makeFolder(), 'token')
    writeFileSync(file, 'sesame')
    expect(await warningsOf({ token: 'sesame' })).toEqual([])
    expect(await warningsOf({ tokens: [{ name: 'a', token: 'sesame' }] })).toEqual([])
    expect(await warningsOf({ tokenSource: { type: 'file', file: { path: file } } })).toEqual([])
  })

  test('is reloaded in two steps, and tells what wants a restart', async () => {
    const { parts, lines } = await makeParts()
    const before = serverConfig({ bindPort: await freePort(), auth: { token: 'sesame' } })
    const service = await run(new FrpsService(before, parts))
    const path = join(makeFolder(), 'none')
    const tokenSource = { type: 'file', file: { path } } as const
    await expect(
      service.prepareReload({ ...before, auth: { ...before.auth, token: '', tokenSource } }),
    ).rejects.toMatchObject({ code: 'TUNNEL_BAD_OPTION' })
    const apply = await service.prepareReload({ ...before, vhostHTTPPort: 8080, userConnTimeout: 1 })
    expect(lines.filter(({ level }) => level === 'warn')).toEqual([])
    expect(apply()).toEqual(['vhostHTTPPort'])
    expect(lines.at(-1)).toMatchObject({
      level: 'warn',
      msg: 'settings that differ want a restart',
      settings: ['vhostHTTPPort'],
    })
  })

  test('whose web server cannot be started has closed all that it had opened', async () => {
    const [bindPort, webPort] = [await freePort(), await freePort()]
    const config = serverConfig({ bindPort, auth: { token: 'x' }, webServer: { port: webPort } })
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(webPort, '127.0.0.1', resolve))
    const { parts } = await makeParts()
    const service = new FrpsService(config, parts)
    await expect(service.start()).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await new Promise((resolve) => taken.close(resolve))
    await run(new FrpsService(config, (await makeParts()).parts))
  })
})

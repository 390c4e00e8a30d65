import { describe, expect, test } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import type { FrpcConfig, LoadedConfig } from '../../mechanisms/frp-config/index.ts'
import { freePort } from '../../foundation/free-port.testkit.ts'
import { ClientFolder, type FolderClient } from './client-folder.ts'
import { clientConfig, makeParts, run, runServer } from './frp-services.testkit.ts'
import { FrpcService } from './frpc-service.ts'
import type { TunnelParts } from './frps-service.ts'

const proxy = (name: string) => ({ name, type: 'tcp', localPort: 9 })

function client(
  file: string,
  serverPort: number,
  parts: TunnelParts,
  load: () => Promise<LoadedConfig<FrpcConfig>>,
): FolderClient {
  const config = clientConfig(serverPort, { proxies: [proxy(file)] })
  return { file, service: new FrpcService(config, parts, { path: file, load, onStop: () => undefined }) }
}

describe('a folder of clients', () => {
  test('runs those that can be started, tells of the others, and reloads each for itself', async () => {
    const { parts, lines } = await makeParts()
    const [serverPort, nowhere] = [await runServer(parts), await freePort()]
    const loaded = (name: string) => async (): Promise<LoadedConfig<FrpcConfig>> => ({
      config: clientConfig(serverPort, { proxies: [proxy(name)] }),
      notes: [],
    })
    const wrong = (): Promise<never> => Promise.reject(new Error('no file'))
    const folder = await run(
      new ClientFolder(
        [
          client('b', nowhere, parts, loaded('never')),
          client('a', serverPort, parts, wrong),
          client('c', serverPort, parts, loaded('d')),
        ],
        parts.logger,
      ),
    )
    const isTold = (fields: object): void => expect(lines).toContainEqual(expect.objectContaining(fields))
    isTold({
      level: 'error',
      msg: 'frpc service error for config file [b]',
      reason: expect.stringContaining('ECONNREFUSED'),
    })
    await eventually(() => {
      for (const name of ['a', 'c']) isTold({ msg: 'start proxy success', proxy: name })
    })
    await folder.reload()
    isTold({ level: 'warn', msg: 'the configuration is not reloaded', reason: 'no file' })
    await eventually(() => isTold({ msg: 'start proxy success', proxy: 'd' }))
    await folder.close()
    await eventually(() => expect(lines.filter(({ msg }) => msg === 'client exit success')).toHaveLength(2))
  })

  test('of which none can be started says why the first could not', async () => {
    const { parts, lines } = await makeParts()
    const ports = [await freePort(), await freePort()]
    const never = (): Promise<never> => Promise.reject(new Error('not asked'))
    const folder = new ClientFolder(
      ports.map((port) => client(String(port), port, parts, never)),
      parts.logger,
    )
    await expect(folder.start()).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
      message: expect.stringContaining(String(ports[0])),
    })
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(2)
  })
})

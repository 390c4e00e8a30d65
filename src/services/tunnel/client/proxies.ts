import { isDeepStrictEqual } from 'node:util'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import type { StartWorkConn } from '../../../protocols/frp/index.ts'
import type { ProxyStatus } from './contract.ts'
import { notRunning, ProxyRunner, type Registrar } from './proxy-runner.ts'
import type { Agreed, ServiceParts } from './proxy-service.ts'
import { ownName } from './wire-name.ts'

/** The proxies of a client, by name. */
export class Proxies {
  readonly #user: string
  readonly #parts: ServiceParts
  #runners = new Map<string, ProxyRunner>()
  #session: Registrar | undefined

  constructor(user: string, parts: ServiceParts) {
    this.#user = user
    this.#parts = parts
  }

  status(): readonly ProxyStatus[] {
    return [...this.#runners.values()].map((runner) => runner.status)
  }

  /** Puts other proxies in force; those that are equal go on untouched. */
  update(configs: readonly ProxyConfig[]): void {
    const runners = new Map<string, ProxyRunner>()
    const added: ProxyRunner[] = []
    for (const config of configs) {
      const running = this.#runners.get(config.name)
      if (running !== undefined && isDeepStrictEqual(running.config, config)) {
        runners.set(config.name, running)
      } else if (!runners.has(config.name)) {
        const runner = new ProxyRunner(config, this.#user, this.#parts)
        runners.set(config.name, runner)
        added.push(runner)
      }
    }
    const removed = [...this.#runners.values()].filter((runner) => runners.get(runner.config.name) !== runner)
    this.#runners = runners
    // First, so that the server has their names and ports free for those that come.
    for (const runner of removed) runner.close()
    for (const runner of added) {
      runner.start()
      if (this.#session !== undefined) runner.attach(this.#session)
    }
    const { log } = this.#parts
    if (removed.length > 0) log.info({ proxies: namesOf(removed) }, 'proxy removed')
    if (added.length > 0) log.info({ proxies: namesOf(added) }, 'proxy added')
  }

  /** A login is there. */
  attach(session: Registrar): void {
    this.#session = session
    for (const runner of this.#runners.values()) runner.attach(session)
  }

  /** The login is gone. */
  detach(): void {
    this.#session = undefined
    for (const runner of this.#runners.values()) runner.detach()
  }

  /** Gives a work connection to the proxy that the server named; without such it is closed. */
  serve(work: ByteStream, start: StartWorkConn, agreed: Agreed): void {
    const runner = this.#runners.get(ownName(this.#user, start.proxy_name))
    if (runner === undefined) work.destroy(notRunning(start.proxy_name))
    else runner.serve(work, start, agreed)
  }

  /** Takes all back from the server. User connections run on. */
  close(): void {
    for (const runner of this.#runners.values()) runner.close()
  }
}

function namesOf(runners: readonly ProxyRunner[]): readonly string[] {
  return runners.map((runner) => runner.config.name)
}

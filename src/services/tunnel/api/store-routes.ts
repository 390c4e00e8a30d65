import { errorMessage } from '../../../foundation/errors.ts'
import { definitionJson } from '../../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { entryOf } from './definition-entry.ts'
import { compare } from './frp-json.ts'
import type { ProxyStore } from './proxy-store.ts'
import type { StoreEntries, StoreEntry } from './store-entries.ts'
import { WebError } from './web-error.ts'
import type { WebReply, WebRequest, WebRoute } from './web-server.ts'

type Json = Readonly<Record<string, unknown>>

/** What the routes of a store need. */
export interface StoreParts {
  readonly store: ProxyStore
  /** Puts into force what is to run now. */
  readonly apply: () => void | Promise<void>
  readonly log: Logger
}

/** frpc's API for proxies and visitors that are kept in the store. */
export function storeRoutes(parts: StoreParts): readonly WebRoute[] {
  const { proxies, visitors } = parts.store
  return [
    ...routesOf(parts, 'proxy', 'proxies', proxies, (entry) => withEnabled(entry, definitionJson)),
    ...routesOf(parts, 'visitor', 'visitors', visitors, (entry) => withEnabled(entry, definitionJson)),
  ]
}

function routesOf<Config extends { readonly name: string }>(
  { store, apply, log }: StoreParts,
  kind: 'proxy' | 'visitor',
  plural: 'proxies' | 'visitors',
  entries: StoreEntries<Config>,
  definitionOf: (entry: StoreEntry<Config>) => Json,
): readonly WebRoute[] {
  const all = `/api/store/${plural}`
  const one = `${all}/:name`
  const change = async <Result>(action: () => Result): Promise<Result> => {
    const result = await store.change(action)
    try {
      await apply()
    } catch (cause) {
      const message = `apply config failed: failed to apply config: ${errorMessage(cause)}`
      throw new WebError(500, message, cause)
    }
    return result
  }
  const save = async (
    request: WebRequest,
    message: string,
    action: (raw: Json) => StoreEntry<Config>,
  ): Promise<WebReply> => {
    const { name } = request.params
    const raw = await entryFrom(kind, request)
    if (name !== undefined && name !== raw.name) {
      throw new WebError(400, `${kind} name in URL must match name in body`)
    }
    const entry = await change(() => action(raw))
    log.info({ [kind]: raw.name }, message)
    return { json: definitionOf(entry) }
  }
  return [
    {
      method: 'GET',
      path: all,
      handle: () => {
        const list = [...entries.list()].sort((a, b) => compare(a.config.name, b.config.name))
        return { json: { [plural]: list.map(definitionOf) } }
      },
    },
    {
      method: 'GET',
      path: one,
      handle: ({ params: { name = '' } }) => {
        const entry = entries.get(name)
        if (entry === undefined) throw entries.missing(name)
        return { json: definitionOf(entry) }
      },
    },
    {
      method: 'POST',
      path: all,
      handle: (request) => save(request, 'store entry created', (raw) => entries.add(raw)),
    },
    {
      method: 'PUT',
      path: one,
      handle: (request) => save(request, 'store entry updated', (raw) => entries.replace(raw)),
    },
    {
      method: 'DELETE',
      path: one,
      handle: async ({ params: { name = '' } }) => {
        await change(() => entries.remove(name))
        log.info({ [kind]: name }, 'store entry deleted')
        return {}
      },
    },
  ]
}

async function entryFrom(
  kind: 'proxy' | 'visitor',
  { readBody }: WebRequest,
): Promise<Json & { readonly name: string }> {
  const body = await readBody()
  let definition: unknown
  try {
    definition = JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw new WebError(400, `parse JSON error: ${errorMessage(cause)}`, cause)
  }
  try {
    return entryOf(kind, definition)
  } catch (cause) {
    throw new WebError(400, errorMessage(cause), cause)
  }
}

/** With `enabled` where the entry says no. */
function withEnabled<Config extends { readonly type: string }>(
  { config, isEnabled }: StoreEntry<Config>,
  definitionOf: (config: Config) => Json,
): Json {
  const definition = definitionOf(config)
  if (isEnabled) return definition
  return { ...definition, [config.type]: { ...(definition[config.type] as Json), enabled: false } }
}

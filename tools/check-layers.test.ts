import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { checkLayers } from './check-layers.ts'

const repository = resolve(import.meta.dirname, '..')
const folders: string[] = []

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

/** A house in a temporary folder with one sound import per layer, and what a test adds. */
function house(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'sluice-layers-'))
  folders.push(root)
  const all = {
    'package.json': JSON.stringify({
      name: 'house',
      type: 'module',
      dependencies: { zod: '*' },
      devDependencies: { vitest: '*' },
    }),
    'tsconfig.build.json': JSON.stringify({
      compilerOptions: { module: 'nodenext', rewriteRelativeImportExtensions: true },
      include: ['src/**/*.ts'],
    }),
    'src/foundation/clock.ts': 'export type Clock = number\n',
    'src/protocols/stun/message.ts':
      "import { isIP } from 'node:net'\nimport type { Clock } from '../../foundation/clock.ts'\n" +
      '// Date.now() in a comment\nexport const a: Clock = isIP("Math.random()")\n',
    'src/protocols/stun/message.test.ts':
      "import 'node:fs'\nimport 'vitest'\nexport const now = Date.now()\n",
    'src/mechanisms/net/listener.ts':
      "import 'node:net'\nimport { a } from '../../protocols/stun/message.ts'\nexport const b = a\n",
    'src/services/turn/relay.ts': "import 'zod'\nexport { b } from '../../mechanisms/net/listener.ts'\n",
    'src/services/media/rooms.ts': 'export const c = 1\n',
    'src/services/media/http/flv.ts': "export { c } from '../rooms.ts'\n",
    'src/services/demo/origin.ts': 'export const demo = 1\n',
    'src/gateway/gateway.ts':
      "export { b } from '../services/turn/relay.ts'\nexport { demo } from '../services/demo/origin.ts'\n",
    'src/cli/main.ts': "import { b } from '../gateway/gateway.ts'\nvoid b\n",
    ...files,
  }
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
  }
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'))
  return root
}

describe('the layers', () => {
  test('a sound house has no problem, and something was looked at', async () => {
    const report = await checkLayers(house({}))
    expect(report.problems).toEqual([])
    expect(report.modules).toBeGreaterThan(8)
    expect(report.dependencies).toBeGreaterThan(8)
  })

  const planted: readonly (readonly [rule: string, file: string, text: string])[] = [
    ['foundation-imports-down', 'foundation/a.ts', "import '../protocols/stun/message.ts'"],
    [
      'protocols-imports-down',
      'protocols/rtp/a.ts',
      "import type { b } from '../../services/turn/relay.ts'\nexport type B = typeof b",
    ],
    [
      'mechanisms-imports-down',
      'mechanisms/config/a.ts',
      "export const a = (): unknown => import('../../gateway/gateway.ts')",
    ],
    ['services-imports-down', 'services/turn/a.ts', "import '../../gateway/gateway.ts'"],
    ['gateway-imports-down', 'gateway/a.ts', "import '../cli/main.ts'"],
    ['service-imports-service', 'services/media/a.ts', "import '../turn/relay.ts'"],
    ['room-imports-room', 'services/media/webrtc/a.ts', "import '../http/flv.ts'"],
    ['demo-only-from-gateway', 'cli/a.ts', "import '../services/demo/origin.ts'"],
    ['protocols-are-pure', 'protocols/rtp/a.ts', "import 'node:dgram'"],
    ['protocols-are-pure', 'protocols/rtp/a.ts', "import 'node:fs/promises'"],
    ['protocols-are-pure', 'protocols/rtp/a.ts', "import { connect } from 'node:net'\nvoid connect"],
    ['protocols-are-pure', 'protocols/rtp/a.ts', "import * as net from 'node:net'\nvoid net"],
    [
      'protocols-are-pure',
      'protocols/rtp/a.ts',
      "import { randomBytes } from 'node:crypto'\nvoid randomBytes",
    ],
    ['protocols-are-pure', 'protocols/rtp/a.ts', 'export const a = Date.now()'],
    ['protocols-are-pure', 'protocols/rtp/a.ts', 'export const a = new Date()'],
    ['protocols-are-pure', 'protocols/rtp/a.ts', 'export const a = Math.random()'],
    ['protocols-are-pure', 'protocols/rtp/a.ts', "export const a = process.env['HOME']"],
    ['protocols-are-pure', 'protocols/rtp/a.ts', 'export const a = () => setTimeout(() => {}, 1)'],
    ['src-stays-in-src', 'gateway/a.ts', "import '../../tools/a.ts'"],
    ['shipped-imports-test-file', 'protocols/rtp/a.ts', "import '../stun/message.test.ts'"],
    ['shipped-imports-dev-package', 'mechanisms/net/a.ts', "import 'vitest'"],
    ['undeclared-package', 'mechanisms/net/a.ts', "import 'pino'"],
    ['circular', 'services/turn/a.ts', "import './b.ts'"],
    ['unresolved', 'services/turn/a.ts', "import './nowhere.ts'"],
  ]

  test.each(planted)('%s: planted in src/%s: %s', async (rule, file, text) => {
    const report = await checkLayers(
      house({
        'tools/a.ts': 'export {}\n',
        'src/services/turn/b.ts': "import './a.ts'\n",
        'src/services/turn/a.ts': 'export {}\n',
        [`src/${file}`]: `${text}\n`,
      }),
    )
    expect(report.problems.map((problem) => problem.split(' -> ')[0])).toContainEqual(
      expect.stringMatching(new RegExp(`^${rule}: src/${file.replaceAll('.', '\\.')}(:\\d+)?$`)),
    )
  })

  test('a house without a module is refused', async () => {
    const root = house({})
    rmSync(join(root, 'src'), { recursive: true })
    mkdirSync(join(root, 'src/protocols'), { recursive: true })
    await expect(checkLayers(root)).rejects.toThrow('No inputs were found')
  })

  test('a house without an import is a problem, as the check then saw nothing', async () => {
    const root = house({})
    rmSync(join(root, 'src'), { recursive: true })
    mkdirSync(join(root, 'src/protocols'), { recursive: true })
    writeFileSync(join(root, 'src/protocols/a.ts'), 'export {}\n')
    const report = await checkLayers(root)
    expect(report.problems).toEqual([expect.stringMatching(/^looked-at-nothing: 1 modules, 0 dependencies/)])
  })
})

import type { IRegularForbiddenRuleType as Rule } from 'dependency-cruiser'

/** The folders of `src`, highest first; imports point down only. */
const layers = ['cli', 'gateway', 'services', 'mechanisms', 'protocols', 'foundation'] as const

/** Files that are not shipped: they may import development packages, and nothing shipped may import them. */
const notShipped = String.raw`\.(test|bench|testkit)\.ts$`

/** Rooms of the media service; what two of them need lies beside them. */
const mediaRooms = '(webrtc|rtmp|http|srt|registration|origins|origin-api)'

/** Built-ins that neither reach out of the process nor keep time; of `net` see `findImpureUses`. */
const pureBuiltIns = '^(node:)?(buffer|crypto|net|util|zlib)$'

/** The house rules as dependency-cruiser takes them; docs: "The house" in the architecture pages. */
export const layerRules: readonly Rule[] = [
  ...layers.slice(1).map((layer, index) =>
    forbid(`${layer}-imports-down`, {
      from: { path: `^src/${layer}/` },
      to: { path: `^src/(${layers.slice(0, index + 1).join('|')})/` },
    }),
  ),
  forbid('service-imports-service', {
    from: { path: '^src/services/([^/]+)/' },
    to: { path: '^src/services/', pathNot: '^src/services/$1/' },
  }),
  forbid('room-imports-room', {
    from: { path: `^src/services/media/${mediaRooms}/` },
    to: { path: `^src/services/media/${mediaRooms}/`, pathNot: '^src/services/media/$1/' },
  }),
  forbid('tunnel-side-imports-side', {
    from: { path: '^src/services/tunnel/(server|client)/', pathNot: notShipped },
    to: { path: '^src/services/tunnel/(server|client)/', pathNot: '^src/services/tunnel/$1/' },
  }),
  forbid('demo-only-from-gateway', {
    from: { pathNot: '^src/(gateway|services/demo)/' },
    to: { path: '^src/services/demo/' },
  }),
  forbid('protocols-are-pure', {
    from: { path: '^src/protocols/', pathNot: notShipped },
    to: { dependencyTypes: ['core'], pathNot: pureBuiltIns },
  }),
  forbid('src-stays-in-src', {
    from: { path: '^src/' },
    to: { pathNot: '^src/', dependencyTypes: ['local'] },
  }),
  forbid('shipped-imports-test-file', {
    from: { pathNot: notShipped },
    to: { path: notShipped },
  }),
  forbid('shipped-imports-dev-package', {
    from: { pathNot: notShipped },
    to: { dependencyTypes: ['npm-dev'] },
  }),
  forbid('undeclared-package', {
    from: {},
    to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'undetermined'] },
  }),
  forbid('circular', { from: {}, to: { circular: true } }),
  forbid('unresolved', { from: {}, to: { couldNotResolve: true } }),
]

function forbid(name: string, rule: Pick<Rule, 'from' | 'to'>): Rule {
  return { name, severity: 'error', ...rule }
}

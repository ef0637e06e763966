/** Who may import whom: the layers of docs/architecture.md, checked. */

const packages = (...names) => `^packages/(${names.join('|')})/`
const only = (name, comment, ...allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: packages(name.split('-')[0]) },
  to: { path: '^packages/', pathNot: packages(name.split('-')[0], ...allowed) },
})

export default {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'packages-by-entry-point-only',
      comment:
        'Another package is reached through its entry points (index, /node, /compliance, …), never by a path into its sources.',
      severity: 'error',
      from: { path: '^packages/([^/]+)/' },
      to: {
        path: '^packages/[^/]+/src/',
        pathNot: [
          '^packages/$1/',
          '^packages/[^/]+/src/index[.]ts$',
          '^packages/[^/]+/src/[^/]+/index[.]ts$',
        ],
      },
    },
    only('core-is-the-root', 'The contracts depend on no other package.'),
    only('frames-on-core', 'Frames know nothing of IP stacks.', 'core'),
    only('tcpip-on-frames', 'The engine knows nothing of the layers above.', 'core', 'frames'),
    only('dns-on-core', 'Whoever installs DNS gets DNS alone.', 'core'),
    only('proxy-on-core', 'Whoever installs the proxy gets the proxy alone.', 'core'),
    only('ports-on-core', 'Whoever installs port forwarding gets port forwarding alone.', 'core'),
    only('apiproxy-on-core', 'The API proxy publishes through core’s PortPublisher.', 'core'),
    only(
      'testnet-on-the-stack',
      'A test network needs no host side.',
      'core',
      'frames',
      'tcpip',
      'dns',
    ),
    {
      name: 'portable-packages-without-node',
      comment:
        'core, frames, tcpip and the logic of dns and testnet run in browsers and workers; Node lives in /node, /tap and /dgram.',
      severity: 'error',
      from: {
        path: packages('core', 'frames', 'tcpip', 'dns', 'testnet'),
        pathNot:
          '/scripts/|/src/(node|packet|tap|dgram|compliance|vitest|node-test|register)/|[.](test|bench)[.]ts$',
      },
      to: { dependencyTypes: ['core'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['netkit-source', 'import', 'default'],
    },
  },
}

package console

// text is a message in the languages of the pages.
type text struct{ English, Chinese string }

// texts are all messages of the pages. The Chinese names of tabs, fields and
// actions are those of spec 1.5.
var texts = map[string]text{
	"product":  {"Tidemark", "Tidemark 数据同步"},
	"skip":     {"Skip to content", "跳到正文"},
	"menu":     {"Main menu", "主菜单"},
	"overview": {"Overview", "总览"},
	"configs":  {"Configs", "配置管理"},
	"query":    {"Data query", "数据查询"},
	"service":  {"Service", "服务管理"},
	"records":  {"Operation records", "操作记录"},
	"oplog":    {"Oplog tail", "日志跟踪"},
	"instance": {"Instance", "实例"}, "instances": {"Instances", "实例管理"},
	"users": {"Users", "用户管理"}, "help": {"Help", "帮助"},
	"dark": {"Dark", "深色"}, "light": {"Light", "浅色"},
	"login": {"Log in", "登录"}, "logout": {"Log out", "退出登录"},
	"oidc": {"Log in with OpenID Connect", "使用 OpenID Connect 登录"},
	"name": {"Name", "名称"}, "password": {"Password", "密码"}, "current": {"Current password", "当前密码"},
	"newPassword": {"New password", "新密码"}, "changePassword": {"Change password", "修改密码"},
	"passwordHint": {"10 characters or more. All your sessions end: log in again afterwards.", "至少 10 个字符。您的所有会话将结束，请重新登录。"},
	"noSession":    {"You did not log in with a name and a password, so there is no password of yours to change.", "您未使用用户名和密码登录，没有可修改的密码。"},

	"search": {"Search", "搜索"}, "all": {"All", "全部"}, "yes": {"Yes", "是"}, "no": {"No", "否"},
	"confirm": {"OK", "确定"}, "cancel": {"Cancel", "取消"}, "save": {"Save", "保存"}, "edit": {"Modify", "修改"},
	"delete": {"Delete", "删除"}, "detail": {"Detail", "详情"}, "operations": {"Operations", "操作"}, "back": {"Back", "返回"},
	"previous": {"Previous", "上一页"}, "next": {"Next", "下一页"}, "rows": {"rows", "条"}, "of": {"of", "/"}, "none": {"Nothing found.", "没有数据。"},
	"required": {"Fields with * are required.", "带 * 的为必填项。"},
	"never":    {"never", "从未"}, "notHere": {"This node does not run the part that answers this.", "本节点未运行提供此数据的组件。"},

	"newConfig":  {"New sync config", "新建同步配置"},
	"editConfig": {"Modify config", "修改配置"},
	"bizType":    {"Identifier", "同步标识"}, "bizTypeHint": {"Up to 30 characters; capitals and - are advised, such as DEVICE-LOCK.", "不超过 30 个字符，建议使用大写字母和 -，例如 DEVICE-LOCK。"},
	"scope": {"Scope", "推送范围"}, "global": {"Global", "全局"}, "specified": {"Specified", "指定"},
	"description": {"Description", "推送说明"},
	"target":      {"Target", "推送对象"}, "user": {"User", "用户"}, "device": {"Device", "设备"},
	"multiDevice": {"Multi-device sync", "多设备同步"}, "multiDeviceGlobal": {"Yes: a global config reaches every device.", "是：全局配置会推送到每台设备。"},
	"persistent": {"Persistence", "数据持久化"}, "persistentGlobal": {"Yes: a global config is always kept.", "是：全局配置始终持久化。"},
	"repush": {"Re-push mode", "重推方式"}, "queue": {"Queue", "队列"}, "threshold": {"Threshold", "阈值"},
	"thresholdValue": {"Re-push threshold", "重推阈值"}, "thresholdHint": {"Push only the newest so many of a backlog.", "积压时仅推送最新的若干条。"},
	"consistency": {"User consistency", "用户一致性"},
	"immutable":   {"Identifier, scope, target and multi-device cannot change: ids and sync points were given by them.", "同步标识、推送范围、推送对象和多设备同步创建后不可修改。"},
	"status":      {"Status", "状态"}, "online": {"Online", "已上线"}, "offline": {"Offline", "已下线"},
	"goOnline": {"Take online", "上线"}, "goOffline": {"Take offline", "下线"},
	"created": {"Created", "创建时间"}, "updated": {"Updated", "更新时间"}, "revision": {"Revision", "版本"},
	"deleteHint": {"Only an offline config can be deleted.", "仅可删除已下线的配置。"},
	"noInstance": {"There is no instance yet: make one first.", "还没有实例，请先新建实例。"},

	"askOffline": {"Take this config offline? API and console sends are refused, and pushes pause.", "确定下线该配置？下线后 API 与控制台均不能发送，推送暂停。"},
	"askOnline":  {"Take this config online? API calls work again and stored data that is still valid resumes.", "确定上线该配置？上线后 API 恢复可用，未过期的数据继续推送。"},
	"askDelete":  {"Delete this config? Its data is no longer pushed. This cannot be undone.", "确定删除该配置？其数据将不再推送，且不可恢复。"},
	"askSignOn":  {"Turn signatures on? Unsigned or wrongly signed calls are refused at once, for the whole service.", "确定开启签名？未签名或签名错误的请求将立即被拒绝，对整个服务生效。"},
	"askSignOff": {"Turn signatures off? Calls without a signature are accepted at once, for the whole service.", "确定关闭签名？未签名的请求将立即被接受，对整个服务生效。"},
	"askRevoke":  {"Revoke this key? Whoever uses it is refused at once.", "确定吊销该密钥？使用它的调用方将立即被拒绝。"},
	"askUser":    {"Delete this user? Their sessions end.", "确定删除该用户？其会话将结束。"},
	"askUnlock":  {"Unlock? Logins are tried again at once, at every node.", "确定解除锁定？所有节点将立即允许再次登录。"},
	"askInst":    {"Delete this instance? Only one without configs can be deleted.", "确定删除该实例？仅可删除没有配置的实例。"},

	"send": {"Send data", "新建同步"}, "userId": {"User ID", "用户 ID"}, "deviceId": {"Device ID", "设备 ID"},
	"data": {"Data", "数据内容"}, "uniqueId": {"Unique ID", "数据唯一 ID"}, "uniqueHint": {"A later push with the same one is ignored.", "重复时，后一次推送将被忽略。"},
	"uniqueFree": {"May be left empty: this config keeps nothing.", "可不填：该配置不持久化。"},
	"os":         {"OS", "系统"}, "versions": {"Version range", "版本区间"}, "minVersion": {"From version", "最低版本"}, "maxVersion": {"To version", "最高版本"},
	"validDays":  {"Validity, days", "有效期（天）"},
	"sendGlobal": {"Everybody gets it: the config is global.", "该配置为全局配置，将推送给所有对象。"}, "sendOffline": {"The config is offline: take it online first.", "该配置已下线，请先上线。"},
	"redeliverFrom": {"Sync point", "同步点"}, "redeliverTo": {"Back to", "回退至"},
	"redeliver": {"Deliver again", "重新投递"}, "redelivered": {"Sync points moved back", "同步点已回退"}, "redeliverPlan": {"Show what would move", "查看将回退的同步点"},
	"redeliverNone":   {"Nothing would come again: no sync point stands behind that id.", "没有可重新投递的数据：没有同步点位于该日志 ID 之后。"},
	"redeliverHint":   {"Entries behind an oplog id are delivered once more, as far as they are stored and still valid: at once to devices that are online, to others at their next connect.", "将重新投递指定日志 ID 之后仍保存且未过期的数据：在线设备立即收到，其他设备在下次连接时收到。"},
	"redeliverAfter":  {"Behind oplog ID (0: all)", "起始日志 ID（不含，0 表示全部）"},
	"redeliverDevice": {"Empty: all devices of the user.", "留空表示该用户的所有设备。"},
	"askRedeliver":    {"Move these sync points back? Apps get what they have received once more.", "确定回退以下同步点？应用将再次收到已接收的数据。"},
	"sent":            {"Accepted", "已受理"}, "notSent": {"Not accepted", "未受理"}, "oplogId": {"Oplog ID", "日志 ID"},
	"watch": {"Watch it arrive", "查看到达情况"}, "watchHint": {"New entries appear here by themselves.", "新数据会自动显示在这里。"},

	"dimension": {"Dimension", "维度"}, "connected": {"Connected", "已连接"}, "disconnected": {"Not connected", "未连接"},
	"pushes": {"Pushes, 30 days", "近 30 天推送数"}, "arrivals": {"Arrivals, 30 days", "近 30 天到达数"},
	"pushList": {"Push list", "推送列表"}, "arrived": {"Arrived", "已到达"}, "waiting": {"Waiting", "未到达"}, "perConfig": {"Per config", "按配置统计"},
	"sessions": {"Sessions", "会话"}, "size": {"Bytes", "字节"}, "validUntil": {"Valid until", "有效期至"},
	"acked": {"Highest confirmed", "最高确认 ID"}, "newest": {"Newest ID", "最新 ID"}, "unknown": {"Nothing is known of this name.", "没有该名称的数据。"},

	"signature": {"Signature verification", "签名校验"}, "on": {"On", "已开启"}, "off": {"Off", "已关闭"},
	"signOn": {"Turn on", "开启签名"}, "signOff": {"Turn off", "关闭签名"},
	"signHint": {"One switch for the whole service. On: calls of the sync API must be signed with an API key of their instance.", "全局开关。开启后，调用同步 API 必须使用实例的 API 密钥签名。"},

	"operator": {"Operator", "操作员"}, "action": {"Action", "操作类型"}, "from": {"From", "开始日期"}, "to": {"To", "结束日期"}, "time": {"Time", "操作时间"},
	"object": {"Object", "对象"}, "source": {"Address", "来源地址"}, "export": {"Export", "导出"}, "record": {"Operation record", "操作记录详情"},
	"recordHint": {"Newest first; the last 7 days unless dates are given; at most 1000.", "按时间倒序；未指定日期时仅显示最近 7 天；最多 1000 条。"},
	"dropped":    {"older records are no longer kept", "条更早的记录已不再保留"}, "field": {"Field", "字段"}, "before": {"Before", "修改前"}, "after": {"After", "修改后"}, "value": {"Value", "值"}, "changed": {"changed", "已修改"},

	"rates": {"Rates", "速率"}, "perSecond": {"per second", "每秒"}, "latency": {"Latency", "延迟"}, "connections": {"Connections", "连接数"}, "partitions": {"Partitions", "分区"}, "partition": {"Partition", "分区"},
	"lag": {"Lag", "积压"}, "viewLag": {"View lag", "视图积压"}, "inFlight": {"In flight", "处理中"}, "state": {"State", "状态"}, "parked": {"Parked tasks", "停放任务"},
	"thisNode": {"Figures of node", "本页数据来自节点"}, "otherNodes": {"Other nodes:", "其他节点："}, "node": {"Node", "节点"}, "appVersion": {"App version", "应用版本"}, "transport": {"Transport", "传输方式"},
	"quorum": {"Quorum", "仲裁"}, "leader": {"Leader", "主节点"}, "members": {"Members", "成员"}, "pending": {"Pending control records", "待发布控制记录"},
	"ready": {"Ready", "就绪"}, "notReady": {"Not ready", "未就绪"}, "reason": {"Reason", "原因"},
	"rate.calls": {"Calls", "调用"}, "rate.decided": {"Decided", "处理"}, "rate.delivered": {"Delivered", "下发"}, "rate.acknowledged": {"Acknowledged", "确认"},
	"lat.call": {"Call", "调用"}, "lat.delivery": {"Delivery", "下发"}, "lat.ack": {"Acknowledgement", "确认"},

	"last": {"Begin with the last", "起始条数"}, "follow": {"Follow", "跟踪"}, "linkToken": {"Target ID", "对象 ID"}, "snapshot": {"Show once, without following", "仅显示一次"}, "stop": {"Stop", "停止"},

	"newInstance": {"New instance", "新建实例"}, "instanceHint": {"workspaceId_appId, such as default_APP1", "workspaceId_appId，例如 default_APP1"},
	"keys": {"Keys", "密钥"}, "kind": {"Kind", "类型"}, "api": {"API key", "API 密钥"}, "client": {"Client key", "客户端密钥"}, "label": {"Label", "标签"},
	"newKey": {"New key", "新建密钥"}, "retire": {"Retire the other keys of this kind after, hours (0: keep them)", "同类其他密钥失效时间（小时，0 表示保留）"},
	"secret": {"The key. It is shown this once: copy it now.", "密钥仅显示这一次，请立即复制。"}, "used": {"Last used", "最近使用"}, "expires": {"Expires", "失效时间"}, "revoke": {"Revoke", "吊销"},
	"validation": {"Session validation URL", "会话校验地址"}, "validationPrivate": {"Session validation: private address", "会话校验：内网地址"}, "jwksPrivate": {"Key set: private address", "公钥集：内网地址"},
	"private": {"The address may be private", "允许内网地址"}, "timeout": {"Timeout, ms", "超时（毫秒）"}, "jwt": {"JWT verification", "JWT 校验"},
	"algorithms": {"Algorithm", "算法"}, "noJWT": {"None", "无"},
	"jwtHint":       {"How a tenant's tokens are verified that bind a user to a connection; none: users are not proven by a token. Clocks may differ by 30 seconds.", "校验将用户绑定到连接的租户令牌的方式；无：不使用令牌校验用户。时钟偏差允许 30 秒。"},
	"jwtSecret":     {"Token secret", "令牌密钥"},
	"jwtSecretHint": {"At least 32 bytes. It is never shown again.", "至少 32 字节，保存后不再显示。"},
	"secretSet":     {"set", "已设置"}, "secretId": {"Token secret (its digest)", "令牌密钥（摘要）"},
	"jwks": {"Key set URL (JWKS)", "公钥集地址（JWKS）"}, "jwksHint": {"https. Give this or a public key.", "使用 https。与公钥二选一。"},
	"publicKey": {"Public key (PEM)", "公钥（PEM）"}, "issuer": {"Issuer (iss)", "签发者（iss）"}, "audience": {"Audience (aud)", "受众（aud）"},
	"userClaim": {"Claim of the user", "用户声明"}, "any": {"any", "不限"},
	"newUser": {"New user", "新建用户"}, "role": {"Role", "角色"}, "viewer": {"Viewer", "只读"}, "roleOperator": {"Operator", "操作员"}, "admin": {"Admin", "管理员"},
	"disabled": {"Disabled", "停用"}, "locks": {"Locked after failed logins", "登录失败后锁定"}, "locked": {"Locked until", "锁定至"}, "unlock": {"Unlock", "解除锁定"}, "failures": {"Failures", "失败次数"}, "address": {"Address", "地址"},
	"lastLogin": {"Last login", "最近登录"}, "keepPassword": {"Leave empty to keep it.", "留空则不修改。"}, "subject": {"OpenID Connect subject", "OpenID Connect 主体"},

	"done.created": {"Created. It is in force.", "已创建并生效。"}, "done.saved": {"Saved. It is in force.", "已保存并生效。"}, "done.deleted": {"Deleted.", "已删除。"},
	"done.same": {"All was so already.", "没有变化。"}, "done.later": {"Saved. It is on its way to every partition.", "已保存，正在发布到各分区。"}, "done.password": {"The password is changed. Log in again.", "密码已修改，请重新登录。"}, "done.out": {"You are logged out.", "已退出登录。"},
	"done.outHere":  {"You are logged out at this node. The registry did not answer: other nodes take a copy of your cookie until the session ends by itself.", "已在本节点退出登录。注册中心没有应答：在会话自然结束之前，其他节点仍接受您的 Cookie 副本。"},
	"done.unlocked": {"Unlocked.", "已解除锁定。"},
	"reasonElse":    {"%s", "系统消息：%s"},
	"err":           {"That did not work", "操作未成功"}, "err.404": {"Not found", "未找到"}, "err.403": {"Not allowed", "没有权限"}, "err.401": {"Log in first", "请先登录"}, "err.409": {"In conflict with what is there", "与现有数据冲突"}, "err.400": {"Please correct the form", "请修正输入"}, "err.429": {"Too many attempts", "尝试次数过多"},

	"shortcuts": {"Keyboard shortcuts", "键盘快捷键"}, "key": {"Key", "按键"}, "shortcutHint": {"They need the script, and rest while you type in a field.", "需要脚本支持；在输入框中输入时不生效。"},
	"toSearch": {"Go to the search field", "聚焦搜索框"}, "toNew": {"New", "新建"}, "toHelp": {"This page", "本页"}, "toTheme": {"Light or dark", "切换深浅色"},
	"apiDoc": {"Every action of these pages is an HTTP API too.", "所有操作均可通过 HTTP API 完成。"},
}

// languages are those of the pages, as HTML names them, in the order of text.
var languages = []string{"en", "zh-CN"}

func (t text) in(lang string) string {
	if lang == languages[1] {
		return t.Chinese
	}
	return t.English
}

{{- define "postmeter.name" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- if contains $chart .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ $chart }}{{ end -}}
{{- end -}}

{{- /* which: what selects the pods of one kind; never changes between releases */ -}}
{{- define "postmeter.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "postmeter.labels" -}}
{{ include "postmeter.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "postmeter.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "postmeter.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "postmeter.name" .) .Values.serviceAccount.name -}}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- /* of a pod: not root, nothing of the node, the usual filter of system calls */ -}}
{{- define "postmeter.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "postmeter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* the one URL that this pod needs, as a file */ -}}
{{- define "postmeter.urlVolume" -}}
- name: database
  secret:
    secretName: {{ .root.Values.database.secret }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: url
{{- end -}}

{{- define "postmeter.urlEnv" -}}
- name: POSTMETER_DATABASE_URL_FILE
  value: /run/secrets/postmeter/url
{{- end -}}

{{- define "postmeter.urlMount" -}}
- name: database
  mountPath: /run/secrets/postmeter
  readOnly: true
{{- end -}}

{{- /* ready: it can work; live: its loops turn. Neither waits for the other's time. */ -}}
{{- define "postmeter.probes" -}}
startupProbe:
  httpGet: {path: /live, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /live, port: http}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}
